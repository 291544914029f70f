package chrome

import (
	"errors"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Until waits until a script's condition holds in the tab, whatever pages are
// shown meanwhile.
func (b *Browser) Until(condition string) {
	b.t.Helper()
	end := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		// A page that is left takes its scripts with it: that is no answer.
		if holds, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](condition)); err == nil && holds {
			return
		}
		select {
		case <-again.C:
		case <-b.ctx.Done():
			b.t.Fatal(b.ctx.Err())
		case <-end:
			b.failed(errors.New("this does not come true: " + condition))
		}
	}
}

// Shows waits until a page is shown in which the selector finds the text.
func (b *Browser) Shows(selector, text string) {
	b.t.Helper()
	b.Until(fmt.Sprintf(`document.readyState === "complete" && Array.from(document.querySelectorAll(%q)).some((e) => e.textContent.includes(%q))`, selector, text))
}

// Is evaluates a condition.
func (b *Browser) Is(condition string) bool {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[bool](condition))
}

// Click clicks on something that stays on its page.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.Do(chromedp.Click(chromedp.CSS(selector)))
}

// Choose puts files into a field for files.
func (b *Browser) Choose(selector string, files ...string) {
	b.t.Helper()
	b.Do(chromedp.SetUploadFiles(chromedp.CSS(selector), files))
}

// Set gives a field a value, of a list for one.
func (b *Browser) Set(selector, value string) {
	b.t.Helper()
	b.Do(chromedp.SetValue(chromedp.CSS(selector), value))
}

// Look looks at the page that is shown as everybody does: in light and dark, on
// a desk and a telephone.
func (b *Browser) Look(name string) {
	b.t.Helper()
	width := b.width
	b.Size(1280, 900)
	b.Prefer("light")
	b.Picture(name + "-light")
	b.Accessible(name + ", light")
	b.Fits(name)
	b.Prefer("dark")
	b.Picture(name + "-dark")
	b.Accessible(name + ", dark")
	b.Size(390, 844)
	b.Picture(name + "-phone")
	b.Accessible(name + ", phone")
	b.Fits(name)
	b.Prefer("light")
	b.Size(width, 900)
}

// Slow lets so many bytes a second be sent; 0: as many as can be.
func (b *Browser) Slow(rate float64) {
	b.t.Helper()
	if rate == 0 {
		rate = -1
	}
	command(b, network.Enable, network.EnableParams{})
	command(b, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{DownloadThroughput: -1, UploadThroughput: rate}},
	})
}

// Comes opens an address again and again until a condition holds there: what is
// shown may be some seconds old.
func (b *Browser) Comes(address, condition string) {
	b.t.Helper()
	end := time.After(patience)
	again := time.NewTicker(300 * time.Millisecond)
	defer again.Stop()
	for {
		b.Go(address)
		if b.Is(condition) {
			return
		}
		select {
		case <-again.C:
		case <-end:
			b.failed(errors.New("this does not come true: " + condition))
		}
	}
}
