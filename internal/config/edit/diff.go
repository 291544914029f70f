package edit

// Line is a line of a difference.
type Line struct {
	Kind     byte // ' ', '+', '-', or '@': lines are left out here
	Text     string
	Old, New int // numbers from 1; 0: it is not there
}

const (
	around   = 3         // lines that are shown beside what is different
	mostWork = 4_000_000 // pairs of lines that are compared at most
)

// difference returns what is different between two files; none when nothing is.
func difference(old, now []string) []Line {
	same := 0
	for same < len(old) && same < len(now) && old[same] == now[same] {
		same++
	}
	tail := 0
	for tail < len(old)-same && tail < len(now)-same && old[len(old)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	if same == len(old) && same == len(now) {
		return nil
	}
	var all []Line
	for i := range same {
		all = append(all, Line{' ', old[i], i + 1, i + 1})
	}
	all = append(all, middle(old[same:len(old)-tail], now[same:len(now)-tail], same)...)
	for i := range tail {
		o, n := len(old)-tail+i, len(now)-tail+i
		all = append(all, Line{' ', old[o], o + 1, n + 1})
	}
	return hunks(all)
}

// middle compares by the longest common subsequence; what is too much for that
// is all removed and added.
func middle(old, now []string, from int) []Line {
	var out []Line
	i, j := 0, 0
	if len(old)*len(now) <= mostWork {
		width := len(now) + 1
		best := make([]int32, (len(old)+1)*width)
		for a := len(old) - 1; a >= 0; a-- {
			for b := len(now) - 1; b >= 0; b-- {
				if old[a] == now[b] {
					best[a*width+b] = best[(a+1)*width+b+1] + 1
				} else {
					best[a*width+b] = max(best[(a+1)*width+b], best[a*width+b+1])
				}
			}
		}
		for i < len(old) && j < len(now) {
			switch {
			case old[i] == now[j]:
				out = append(out, Line{' ', old[i], from + i + 1, from + j + 1})
				i, j = i+1, j+1
			case best[(i+1)*width+j] >= best[i*width+j+1]:
				out = append(out, Line{Kind: '-', Text: old[i], Old: from + i + 1})
				i++
			default:
				out = append(out, Line{Kind: '+', Text: now[j], New: from + j + 1})
				j++
			}
		}
	}
	for ; i < len(old); i++ {
		out = append(out, Line{Kind: '-', Text: old[i], Old: from + i + 1})
	}
	for ; j < len(now); j++ {
		out = append(out, Line{Kind: '+', Text: now[j], New: from + j + 1})
	}
	return out
}

// hunks leaves out what is far from anything different.
func hunks(all []Line) []Line {
	near := make([]bool, len(all))
	for i, l := range all {
		if l.Kind != ' ' {
			for k := max(0, i-around); k <= min(len(all)-1, i+around); k++ {
				near[k] = true
			}
		}
	}
	var out []Line
	for i, l := range all {
		switch {
		case near[i]:
			out = append(out, l)
		case len(out) > 0 && out[len(out)-1].Kind != '@':
			out = append(out, Line{Kind: '@'})
		}
	}
	if n := len(out); n > 0 && out[n-1].Kind == '@' {
		out = out[:n-1]
	}
	return out
}
