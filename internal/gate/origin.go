package gate

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// origin is where a request comes from, and what it calls this machine.
type origin struct {
	address netip.Addr
	host    string // with the port, when it is not the scheme's own
	secure  bool   // TLS ends here or at a trusted proxy
	// local: it comes from this machine, and from nobody behind it.
	local bool
	// loopback: the connection came in over the loopback interface.
	loopback bool
	// stranger: a proxy that the configuration does not name passed it on.
	stranger bool
}

func originOf(r *http.Request, s Settings) origin {
	peer := parseAddress(r.RemoteAddr)
	trusted := inside(peer, s.Proxies)
	o := origin{address: peer, host: r.Host, secure: r.TLS != nil}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		o.loopback = parseAddress(local.String()).IsLoopback()
	}
	passed := passedOn(r, s)
	o.stranger = passed && !trusted
	if trusted {
		if s.AddressHeader != "" {
			o.address = client(peer, hops(r.Header.Values(s.AddressHeader), s.AddressHeader), s.Proxies)
		}
		switch {
		case s.ProtoHeader != "":
			o.secure = o.secure || strings.EqualFold(last(r.Header.Values(s.ProtoHeader)), "https")
		case s.External != nil:
			o.secure = o.secure || s.External.Scheme == "https"
		}
		if s.HostHeader != "" {
			if host := last(r.Header.Values(s.HostHeader)); host != "" {
				o.host = host
			}
		}
	}
	// Behind a proxy that does not say for whom it asks, everybody looks as if they were here.
	o.local = o.address.IsLoopback() && !o.stranger && (!passed || s.AddressHeader != "")
	return o
}

// passedOn says whether a proxy has written into a request.
func passedOn(r *http.Request, s Settings) bool {
	for _, name := range []string{
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-Ip", s.AddressHeader, s.ProtoHeader, s.HostHeader,
	} {
		if name != "" && r.Header.Get(name) != "" && !strings.EqualFold(name, "Host") {
			return true
		}
	}
	return false
}

// client is the nearest address that is no trusted proxy: what stands further
// to the left is what that one claims.
func client(peer netip.Addr, hops []string, proxies []netip.Prefix) netip.Addr {
	address := peer
	for i := len(hops) - 1; i >= 0; i-- {
		hop := parseAddress(hops[i])
		if !hop.IsValid() {
			return address
		}
		address = hop
		if !inside(hop, proxies) {
			return address
		}
	}
	return address
}

// hops are the addresses in a header, the furthest first.
func hops(lines []string, header string) []string {
	elements := strings.Split(strings.Join(lines, ","), ",")
	if !strings.EqualFold(header, "Forwarded") {
		return elements
	}
	var found []string
	for _, element := range elements {
		hop := ""
		for pair := range strings.SplitSeq(element, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(name, "for") {
				hop = value
			}
		}
		found = append(found, hop)
	}
	return found
}

// parseAddress reads an address with or without a port, brackets, quotes and a
// zone; the zero value when it is none.
func parseAddress(s string) netip.Addr {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	if len(s) > 100 {
		return netip.Addr{}
	}
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr().Unmap().WithZone("")
	}
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	}
	address, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

func inside(address netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(address) || p.Addr().Is4In6() && netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0)).Contains(address) {
			return true
		}
	}
	return false
}

// last is the last value of a header: the one that the nearest proxy wrote.
func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return strings.TrimSpace(line[strings.LastIndexByte(line, ',')+1:])
}

// refusal is why a request from there is not let in; nil: it is.
func (o origin) refusal(s Settings) *Refusal {
	if !o.named(s) {
		hint := "open the console at " + o.known(s) + "; if people reach it by another name, write it into console.url of backstay.yaml"
		return &Refusal{Status: http.StatusMisdirectedRequest, Code: "wrong_host", Message: "the console does not answer to this name", Hint: hint}
	}
	if !o.secure && !o.local && !s.Plain {
		r := &Refusal{
			Status: http.StatusForbidden, Code: "plain",
			Message: "passwords would cross the network in clear text, so nobody is let in here",
			Hint: "give the console a certificate (console.tls), put a proxy with TLS before it (console.url, console.proxies, console.headers), " +
				"or reach it through a tunnel: ssh -L 8484:127.0.0.1:8484 HOST; console.plain: true lets people in all the same",
		}
		if o.stranger {
			r.Code = "unknown_proxy"
			r.Message = "a proxy that the configuration does not name passed this request on"
			r.Hint = "write its address into console.proxies of backstay.yaml, and the headers that it sends into console.headers"
		}
		return r
	}
	return nil
}

// named says whether the host that was asked for is this console.
func (o origin) named(s Settings) bool {
	if !validHost(o.host) {
		return false
	}
	if loopbackName(o.host) {
		return true // no other site can have such a name
	}
	for _, host := range s.Hosts {
		if sameHost(o.host, host) {
			return true
		}
	}
	if s.External != nil && s.External.Host != "" {
		return sameHost(o.host, s.External.Host)
	}
	return len(s.Hosts) == 0 && !o.loopback
}

func (o origin) known(s Settings) string {
	if s.External != nil && s.External.Host != "" {
		return s.External.String()
	}
	if len(s.Hosts) > 0 {
		return s.Hosts[0]
	}
	return "localhost"
}

// url is the scheme and host that people type.
func (o origin) url() string {
	if o.host == "" {
		return ""
	}
	if o.secure {
		return "https://" + o.host
	}
	return "http://" + o.host
}

func validHost(host string) bool {
	if host == "" || len(host) > 260 {
		return false
	}
	for _, c := range []byte(host) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(".-_:[]", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// sameHost compares a host that was asked for with a known one. A known one
// without a port stands for any.
func sameHost(asked, known string) bool {
	askedName, askedPort := splitHost(asked)
	knownName, knownPort := splitHost(known)
	if !strings.EqualFold(askedName, knownName) {
		return false
	}
	return knownPort == "" || knownPort == askedPort || askedPort == "" && (knownPort == "443" || knownPort == "80")
}

func splitHost(host string) (name, port string) {
	if name, port, err := net.SplitHostPort(host); err == nil {
		return strings.TrimSuffix(name, "."), port
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), "."), ""
}

func loopbackName(host string) bool {
	name, _ := splitHost(host)
	if strings.EqualFold(name, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(name)
	return err == nil && address.Unmap().IsLoopback()
}
