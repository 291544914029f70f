package picture

import (
	"html/template"
	"math"
)

// Bar is a number at a time: how long a drill took.
type Bar struct {
	Value int64
	Bad   bool // it failed
}

// Bars draws numbers, the oldest first, and a line at target, 0 for none. Nothing
// is drawn of no numbers.
func Bars(bars []Bar, target int64, w Words) template.HTML {
	if len(bars) == 0 {
		return ""
	}
	bars = bars[max(0, len(bars)-most):]
	const width, height = 240, 48
	top := max(1, target)
	for _, b := range bars {
		top = max(top, b.Value)
	}
	d := begin("bars", width, height, w)
	step := math.Min(float64(width)/float64(len(bars)), 12)
	gap := math.Min(2, step/4)
	for i, b := range bars {
		class, opacity := "ok", 0.5
		if b.Bad {
			class, opacity = "bad", 0.9
		}
		h := math.Max(1, float64(b.Value)/float64(top)*height)
		d.rect(class, float64(width)-step*float64(len(bars)-i), height-h, step-gap, h, opacity)
	}
	if target > 0 {
		y := height - float64(target)/float64(top)*height
		d.rect("target", 0, math.Min(y, height-1), width, 1, 1)
	}
	return d.end()
}
