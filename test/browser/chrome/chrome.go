// Package chrome looks at pages with a real browser: headless Chromium, with a
// profile of its own for each test. It is for tests. It promises that whatever
// a page's script or the page's security policy complains of fails the test.
package chrome

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axeFile is what scripts/setup.sh fetches, in the user's cache folder.
const axeFile = "axe-core-4.10.3.min.js"

// patience is how long one action may take.
const patience = 2 * time.Minute // a machine that is busy with other tests

// Step is something that a person does.
type Step = chromedp.Action[chromedp.Void]

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
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Env("LANG=en_US.UTF-8"),
		chromedp.Flag("lang", "en-US"), chromedp.Flag("no-proxy-server", true), // the console is on this machine
	}
	for _, name := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage",
		"disable-extensions", "disable-default-apps", "hide-scrollbars", "metrics-recording-only",
	} {
		options = append(options, chromedp.Flag(name, true))
	}
	said := &output{}
	options = append(options, chromedp.CombinedOutput(said))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	b := &Browser{t: t, ctx: ctx, axe: string(axe), artifacts: artifacts}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // the browser may have gone
		closeTab()
		stop()
		if t.Failed() {
			t.Logf("Chromium said:\n%s", said.end())
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, complaint := range b.complains {
			t.Errorf("the browser complains: %s", complaint)
		}
	})
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	command(b, cdplog.Enable, cdp.Empty{})
	command(b, runtime.Enable, cdp.Empty{})
	b.Size(1280, 900)
	return b
}

// command sends a command of the browser's protocol.
func command[P, R any](b *Browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, c, params); err != nil {
		b.t.Fatalf("%s: %v", c.Method, err)
	}
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
		if e.Entry.Level != cdplog.EntryLevelError {
			return
		}
		complaint = fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL)
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			complaint += " " + thrown.Description
		}
	case *page.EventJavascriptDialogOpening: // whether to stay: no
		go func() {
			_, _ = chromedp.Call(b.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true}) // a page that does not go is seen by the test
		}()
		return
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
func (b *Browser) Do(actions ...Step) {
	b.t.Helper()
	if err := b.Try(actions...); err != nil {
		b.failed(err)
	}
}

// Try is Do whose failure is the test's to judge.
func (b *Browser) Try(actions ...Step) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// Go opens an address and returns the answer's status.
func (b *Browser) Go(address string) int64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
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

// ask is Do for one action that has an answer.
func ask[T any](b *Browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	answer, err := chromedp.Run(ctx, action)
	if err != nil {
		b.failed(err)
	}
	return answer
}

func (b *Browser) failed(err error) {
	b.t.Helper()
	name := "failed-" + strings.ReplaceAll(b.t.Name(), "/", "-")
	if shot := b.picture(name); shot != nil {
		b.t.Logf("there is no picture of it: %v", shot)
	}
	b.t.Fatalf("at %s (%s.png): %v", b.Address(), name, err)
}

// Fill types text into a field.
func (b *Browser) Fill(selector, text string) {
	b.t.Helper()
	b.Do(chromedp.WaitVisible(chromedp.CSS(selector)), chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).value = %q", selector, "")), chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Press clicks on something that leads to another page, and waits for that.
func (b *Browser) Press(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.failed(fmt.Errorf("press %s: %w", selector, err))
	}
}

// Text is what a person reads in what the selector finds.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	return ask(b, chromedp.Text(chromedp.CSS(selector)))
}

// Find evaluates a script that finds strings.
func (b *Browser) Find(script string) []string {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[[]string](script))
}

// Address is where the tab is.
func (b *Browser) Address() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	address, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
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
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// Script says whether scripts run.
func (b *Browser) Script(runs bool) {
	b.t.Helper()
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !runs})
}

// SaveTo has downloads put into a folder.
func (b *Browser) SaveTo(folder string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder}); err != nil {
		b.t.Fatalf("have downloads saved: %v", err)
	}
}

// Picture keeps a picture of the whole page.
func (b *Browser) Picture(name string) {
	b.t.Helper()
	if err := b.picture(name); err != nil {
		b.t.Errorf("take a picture of %s: %v", name, err)
	}
}

func (b *Browser) picture(name string) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.artifacts, name+".png"), png, 0o644)
}

// report is what axe-core returns.
type report struct {
	Violations []violation `json:"violations"`
}

// violation is what axe-core says of a rule.
type violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		Target         []string `json:"target"`
		FailureSummary string   `json:"failureSummary"`
	} `json:"nodes"`
}

// Accessible checks the page that is shown with axe-core.
func (b *Browser) Accessible(name string) {
	b.t.Helper()
	if !ask(b, chromedp.Evaluate[bool](`typeof axe === "object"`)) {
		ask(b, chromedp.Evaluate[bool](b.axe+";true"))
	}
	result := ask(b, chromedp.Evaluate[report](`axe.run(document, {
		resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	}).then((r) => ({violations: r.violations.map((v) => ({id: v.id, impact: v.impact, help: v.help,
		nodes: v.nodes.map((n) => ({target: n.target.map(String), failureSummary: n.failureSummary}))}))}))`, chromedp.EvalAwaitPromise))
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
