// Package chrome looks at pages with a real browser: headless Chromium, with a
// profile of its own for each test. It is for tests. It promises that whatever
// a page's script or the page's security policy complains of fails the test.
package chrome

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axeFile is what scripts/setup.sh fetches, in the user's cache folder.
const axeFile = "axe-core-4.10.3.min.js"

// Browser is a browser with one tab. It is used by one goroutine.
type Browser struct {
	t         testing.TB
	ctx       context.Context
	axe       string
	artifacts string
	width     int64

	mu        sync.Mutex
	complains []string
	forgiven  []string
}

// Open starts a browser that ends with the test. artifacts takes its pictures.
func Open(t testing.TB, artifacts string) *Browser {
	t.Helper()
	program := find(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	axe, err := os.ReadFile(filepath.Join(cache, "backstay", axeFile))
	if err != nil {
		t.Fatalf("axe-core is missing: run make setup: %v", err)
	}
	if err := os.MkdirAll(artifacts, 0o755); err != nil {
		t.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Env("LANG=en_US.UTF-8"),
	}
	for _, name := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage", "disable-extensions", "hide-scrollbars", "disable-default-apps", "metrics-recording-only"} {
		options = append(options, chromedp.Flag(name, true))
	}
	// The console is on this machine: no proxy is asked.
	options = append(options, chromedp.Flag("no-proxy-server", true), chromedp.Flag("lang", "en-US"))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	b := &Browser{t: t, ctx: ctx, axe: string(axe), artifacts: artifacts}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // the browser may have gone
		closeTab()
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, complaint := range b.complains {
			t.Errorf("the browser complains: %s", complaint)
		}
	})
	chromedp.ListenTarget(ctx, b.hear)
	if err := chromedp.Run(ctx, cdplog.Enable(), runtime.Enable()); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	b.Size(1280, 900)
	return b
}

func find(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	t.Fatal("Chromium is missing: run make setup")
	return ""
}

func (b *Browser) hear(event any) {
	var complaint string
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		if e.Entry.Level != cdplog.LevelError {
			return
		}
		complaint = fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL)
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Error()
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range b.forgiven {
		if strings.Contains(complaint, part) {
			return
		}
	}
	b.complains = append(b.complains, complaint)
}

// Forgive lets the browser complain of what has the part: a page that is
// refused on purpose is a complaint too.
func (b *Browser) Forgive(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgiven = append(b.forgiven, part)
}

// Do runs actions, for at most half a minute.
func (b *Browser) Do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := b.Try(actions...); err != nil {
		b.picture("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
		b.t.Fatalf("at %s: %v", b.Address(), err)
	}
}

// Try is Do whose failure is the test's to judge.
func (b *Browser) Try(actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

// Go opens an address and returns the answer's status.
func (b *Browser) Go(address string) int64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, chromedp.Navigate(address))
	if err != nil {
		b.t.Fatalf("open %s: %v", address, err)
	}
	if response == nil {
		return 0
	}
	return response.Status
}

// Fill types text into a field.
func (b *Browser) Fill(selector, text string) {
	b.t.Helper()
	b.Do(chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.SetValue(selector, "", chromedp.ByQuery), chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

// Press clicks on something that leads to another page, and waits for that.
func (b *Browser) Press(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(selector, chromedp.ByQuery)); err != nil {
		b.picture("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
		b.t.Fatalf("at %s: press %s: %v", b.Address(), selector, err)
	}
}

// Text is what a person reads in what the selector finds.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	var text string
	b.Do(chromedp.Text(selector, &text, chromedp.ByQuery))
	return text
}

// Find evaluates a script that finds strings.
func (b *Browser) Find(script string) []string {
	b.t.Helper()
	var found []string
	b.Do(chromedp.Evaluate(script, &found))
	return found
}

// Address is where the tab is.
func (b *Browser) Address() string {
	var address string
	if err := b.Try(chromedp.Location(&address)); err != nil {
		return "an unknown page (" + err.Error() + ")"
	}
	return address
}

// Size makes the window so many pixels large, and a telephone when it is narrow.
func (b *Browser) Size(width, height int64) {
	b.t.Helper()
	b.width = width
	var options []chromedp.EmulateViewportOption
	if width < 600 {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	b.Do(chromedp.EmulateViewport(width, height, options...))
}

// Prefer has the browser ask for "light" or "dark".
func (b *Browser) Prefer(theme string) {
	b.t.Helper()
	b.Do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}))
}

// Script says whether scripts run.
func (b *Browser) Script(runs bool) {
	b.t.Helper()
	b.Do(emulation.SetScriptExecutionDisabled(!runs))
}

// SaveTo has downloads put into a folder.
func (b *Browser) SaveTo(folder string) {
	b.t.Helper()
	b.Do(browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(folder).WithEventsEnabled(true))
}

// Picture keeps a picture of the whole page.
func (b *Browser) Picture(name string) {
	b.t.Helper()
	if err := b.picture(name); err != nil {
		b.t.Errorf("take a picture of %s: %v", name, err)
	}
}

func (b *Browser) picture(name string) error {
	var png []byte
	if err := b.Try(chromedp.FullScreenshot(&png, 100)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.artifacts, name+".png"), png, 0o644)
}

// violation is what axe-core says of a rule.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		Target         []json.RawMessage
		FailureSummary string
	}
}

// Accessible checks the page that is shown with axe-core.
func (b *Browser) Accessible(name string) {
	b.t.Helper()
	var result struct{ Violations []violation }
	var here bool
	b.Do(chromedp.Evaluate(`typeof axe === "object"`, &here))
	if !here {
		b.Do(chromedp.Evaluate(b.axe+";true", &here))
	}
	b.Do(chromedp.Evaluate(`axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})`, &result,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	for _, v := range result.Violations {
		for _, node := range v.Nodes {
			b.t.Errorf("%s (%s): %s (%s): %s at %s: %s", name, b.Address(), v.ID, v.Impact, v.Help, node.Target, node.FailureSummary)
		}
	}
}

// Fits checks that the page does not scroll sideways.
func (b *Browser) Fits(name string) {
	b.t.Helper()
	for _, wide := range b.Find(`(() => {
		const room = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= room) return [];
		const inside = (e) => { for (let p = e.parentElement; p; p = p.parentElement) { if (getComputedStyle(p).overflowX !== "visible") return true; } return false; };
		return [document.documentElement.scrollWidth + " of " + room].concat(Array.from(document.querySelectorAll("body *"))
			.filter((e) => e.getBoundingClientRect().right > room + 1 && !inside(e)).slice(0, 5).map((e) => e.outerHTML.slice(0, 120)));
	})()`) {
		b.t.Errorf("%s (%s) is wider than the window of %d: %s", name, b.Address(), b.width, wide)
	}
}
