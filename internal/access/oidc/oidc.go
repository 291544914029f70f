// Package oidc lets people log in at an OpenID Connect provider, by the
// authorization code flow with PKCE. It is for the console's login page. It
// promises that an answer is only taken from the provider that was asked, in
// the browser that asked, once it is asked for; and that a provider that is
// down keeps nobody else out.
package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/access/seal"
	"github.com/backstay/backstay/internal/core"
)

// Settings are what the configuration says of the provider.
type Settings struct {
	Issuer       string // its address; "": there is no provider
	ClientID     string
	ClientSecret core.Secret // empty: a public client
	Scopes       []string    // none: openid, profile, email
	NameClaim    string      // "": preferred_username, else email, else sub
	RolesClaim   string      // with dots for claims within claims: "realm_access.roles"; "": nobody has a role by it
	// Roles are the values of RolesClaim that give each role; the highest counts.
	Roles map[access.Role][]string
	// Default is the role of those with none; "": they are not let in.
	Default access.Role
}

// Options are what a Provider is made of.
type Options struct {
	Settings func() Settings // as they are now
	Client   *http.Client    // nil: one with timeouts
	Clock    core.Clock
}

// Provider is safe for concurrent use. It keeps the provider's addresses and
// keys once it has them.
type Provider struct {
	o      Options
	seal   *seal.Sealer
	mu     sync.Mutex
	known  *oidc.Provider
	issuer string // of known
}

// What callers branch on.
var (
	ErrAbsent   = errors.New("no provider is configured")
	ErrExpired  = errors.New("the login at the provider was begun elsewhere, or too long ago")
	ErrDeclined = errors.New("the provider did not log the person in") // or the person went back
	ErrNoRole   = errors.New("the provider gives the person no role here")
)

// FlowFor is how long a person has for the login at the provider.
const FlowFor = 10 * time.Minute

// purpose keeps what is sealed here from being taken for something else.
const purpose = "a login at a provider"

// answerIn is how long the provider may take for one answer.
const answerIn = 15 * time.Second

// New makes a provider; nothing is asked of it before somebody logs in.
func New(o Options) *Provider {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: answerIn}
	}
	return &Provider{o: o, seal: seal.New()}
}

// Configured says whether there is a provider now.
func (p *Provider) Configured() bool { return p != nil && p.o.Settings().Issuer != "" }

// Flow is a login under way. It is kept sealed in the browser.
type Flow struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Issuer   string    `json:"issuer"`
	Next     string    `json:"next"`  // where the person wants to go
	Again    int64     `json:"again"` // the user who proves who they are; 0: a login
	Began    time.Time `json:"began"`
}

// Person is whom the provider vouches for.
type Person struct {
	Issuer  string
	Subject string // the provider's name for them, which never changes
	Name    string
	Role    access.Role
	// Asked is when the provider last asked the person who they are; the zero
	// value when it does not say.
	Asked time.Time
	Flow  Flow
}

// Start begins a login: the browser goes to address and keeps cookie. redirect
// is this console's address that the provider sends people back to. With again
// the provider is to ask anew, and whom it lets in must be that user.
func (p *Provider) Start(ctx context.Context, redirect, next string, again int64) (address string, cookie core.Secret, err error) {
	settings := p.o.Settings()
	provider, err := p.provider(ctx, settings)
	if err != nil {
		return "", core.Secret{}, err
	}
	if len(next) > 1500 {
		next = "" // a cookie has 4 kB
	}
	flow := Flow{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Issuer: settings.Issuer,
		Next: next, Again: again, Began: p.o.Clock.Now(),
	}
	sealed, err := p.seal.Close(purpose, flow)
	if err != nil {
		return "", core.Secret{}, fmt.Errorf("seal the state of a login: %w", err)
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(flow.Nonce), oauth2.S256ChallengeOption(flow.Verifier)}
	if again != 0 {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return client(provider, settings, redirect).AuthCodeURL(flow.State, options...), core.NewSecret(sealed), nil
}

// Finish takes the answer that a browser brings back. Errors: ErrExpired,
// ErrDeclined, ErrNoRole, and what is wrong with the provider.
func (p *Provider) Finish(ctx context.Context, redirect string, cookie core.Secret, answer url.Values) (Person, error) {
	settings := p.o.Settings()
	var flow Flow
	if err := p.seal.Open(purpose, cookie.Reveal(), &flow); err != nil {
		return Person{}, ErrExpired
	}
	now := p.o.Clock.Now()
	if flow.Issuer != settings.Issuer || now.Sub(flow.Began) > FlowFor || flow.Began.After(now.Add(time.Minute)) ||
		subtle.ConstantTimeCompare([]byte(flow.State), []byte(answer.Get("state"))) != 1 {
		return Person{}, ErrExpired
	}
	if problem := answer.Get("error"); problem != "" {
		return Person{Flow: flow}, fmt.Errorf("%w: %s", ErrDeclined, quoted(problem, answer.Get("error_description")))
	}
	if answer.Get("code") == "" {
		return Person{Flow: flow}, ErrExpired
	}
	provider, err := p.provider(ctx, settings)
	if err != nil {
		return Person{Flow: flow}, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.o.Client), 2*answerIn)
	defer cancel()
	token, err := client(provider, settings, redirect).Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(flow.Verifier))
	if err != nil {
		return Person{Flow: flow}, exchangeError(settings, err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return Person{Flow: flow}, brokenError(settings, errors.New("its answer has no id_token"))
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: settings.ClientID, Now: p.o.Clock.Now}).Verify(ctx, raw)
	if err != nil {
		return Person{Flow: flow}, brokenError(settings, err)
	}
	if subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(flow.Nonce)) != 1 {
		return Person{Flow: flow}, ErrExpired
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return Person{Flow: flow}, brokenError(settings, err)
	}
	if p.wants(settings, claims) {
		if err := p.ask(ctx, provider, token, verified.Subject, claims); err != nil {
			return Person{Flow: flow}, brokenError(settings, err)
		}
	}
	return person(settings, verified.Subject, claims, flow)
}

// wants says whether the token says too little, so that the provider's page
// about the person must be asked too.
func (p *Provider) wants(settings Settings, claims map[string]any) bool {
	return settings.RolesClaim != "" && len(texts(claim(claims, settings.RolesClaim))) == 0 || nameIn(settings, claims) == ""
}

// ask adds what the provider's userinfo says. A provider may have none.
func (p *Provider) ask(ctx context.Context, provider *oidc.Provider, token *oauth2.Token, subject string, claims map[string]any) error {
	if provider.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("ask for the person's claims: %w", err)
	}
	if info.Subject != subject {
		return errors.New("it speaks of another person than its token does")
	}
	more := map[string]any{}
	if err := info.Claims(&more); err != nil {
		return fmt.Errorf("read the person's claims: %w", err)
	}
	for name, value := range more {
		if _, known := claims[name]; !known {
			claims[name] = value
		}
	}
	return nil
}

func client(provider *oidc.Provider, settings Settings, redirect string) *oauth2.Config {
	scopes := settings.Scopes
	if len(scopes) == 0 {
		scopes = []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}
	}
	if !slices.Contains(scopes, oidc.ScopeOpenID) {
		scopes = append([]string{oidc.ScopeOpenID}, scopes...)
	}
	return &oauth2.Config{
		ClientID: settings.ClientID, ClientSecret: settings.ClientSecret.Reveal(), Endpoint: provider.Endpoint(), RedirectURL: redirect, Scopes: scopes,
	}
}

// provider finds out the provider's addresses, once.
func (p *Provider) provider(ctx context.Context, settings Settings) (*oidc.Provider, error) {
	if settings.Issuer == "" {
		return nil, ErrAbsent
	}
	p.mu.Lock()
	known, issuer := p.known, p.issuer
	p.mu.Unlock()
	if known != nil && issuer == settings.Issuer {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.o.Client), answerIn)
	defer cancel()
	found, err := oidc.NewProvider(ctx, settings.Issuer)
	if err != nil {
		return nil, discoveryError(settings, err)
	}
	if e := found.Endpoint(); !secure(e.AuthURL) || !secure(e.TokenURL) {
		return nil, brokenError(settings, errors.New("it names an address without TLS"))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known, p.issuer = found, settings.Issuer
	return found, nil
}

// secure says whether nobody on the way can change what an address answers.
func secure(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	name := u.Hostname()
	return u.Scheme == "https" || u.Scheme == "http" && (name == "localhost" || name == "127.0.0.1" || name == "::1")
}

const hintLocal = "people with a password here can log in meanwhile"

func discoveryError(settings Settings, err error) error {
	e := &core.Error{Code: core.CodeFailed, Op: "ask the provider of logins", Message: settings.Issuer + " does not answer as it should", Hint: hintLocal, Err: trimmed(err)}
	var mismatch *oidc.IssuerMismatchError
	if errors.As(err, &mismatch) {
		e.Code, e.Message, e.Err = core.CodeConfig, "the provider calls itself "+quoted(mismatch.Discovered), nil
		e.Hint = "write exactly that into console.oidc.issuer of backstay.yaml, with or without the slash at its end"
	}
	return e
}

func exchangeError(settings Settings, err error) error {
	e := &core.Error{Code: core.CodeFailed, Op: "log in at the provider", Message: settings.Issuer + " does not answer as it should", Hint: hintLocal}
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) {
		e.Err = trimmed(err)
		return e
	}
	// The answer as a whole may hold what it was asked with.
	e.Message = "the provider refused: " + quoted(answer.ErrorCode, answer.ErrorDescription)
	switch answer.ErrorCode {
	case "invalid_client", "unauthorized_client":
		e.Code, e.Hint = core.CodeConfig, "see that client_id and client_secret in console.oidc of backstay.yaml are those that the provider gave, and have not expired"
	case "invalid_grant":
		e.Hint = "log in again; when that does not help, see that the redirect address at the provider is this console's, and that both clocks are right"
	}
	return e
}

func brokenError(settings Settings, err error) error {
	return &core.Error{
		Code: core.CodeFailed, Op: "log in at the provider", Message: "the answer of " + settings.Issuer + " cannot be trusted", Err: trimmed(err),
		Hint: "see that client_id in console.oidc of backstay.yaml is right, and that both clocks are; " + hintLocal,
	}
}

// trimmed keeps a provider's page of HTML out of the log.
func trimmed(err error) error {
	text := err.Error()
	if len(text) <= 300 && !strings.ContainsAny(text, "\r\n") {
		return err
	}
	return errors.New(quoted(text))
}

// quoted is text of the provider's, or of the browser's, that may be anything.
func quoted(parts ...string) string {
	text := strings.TrimSpace(strings.Join(parts, " "))
	runes := []rune(strings.ToValidUTF8(text, "?"))
	if len(runes) > 300 {
		runes = append(runes[:300], '…')
	}
	return fmt.Sprintf("%q", string(runes))
}
