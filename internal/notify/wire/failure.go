package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/backstay/backstay/internal/core"
)

// Failure returns err, which ended op, as a *core.Error in words that a person
// can act on. What it says holds nothing that veil covers; of err's chain only
// the end of ctx stays, so that callers can tell.
func Failure(ctx context.Context, op string, err error, veil Veil) error {
	e := &core.Error{Code: core.CodeFailed, Op: op}
	e.Message, e.Hint = explain(err)
	e.Message = veil.Cover(e.Message)
	switch {
	case errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, context.Canceled):
		e.Message, e.Hint, e.Err = "it was stopped", "", context.Canceled
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		e.Message, e.Hint = explain(context.DeadlineExceeded)
		e.Err = context.DeadlineExceeded
	}
	return e
}

func explain(err error) (message, hint string) {
	var (
		name      *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		timeout   net.Error
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "it did not answer in time", "is it up, and does a firewall let this machine through?"
	case errors.As(err, &name):
		if name.IsNotFound {
			return fmt.Sprintf("there is no host %s", name.Name), "look at the name, and at this machine's name server"
		}
		return fmt.Sprintf("the name server does not say where %s is", name.Name), "look at this machine's name server"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there", "look at host and port, and whether it is running"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to it from here", "look at the network of this machine"
	case errors.As(err, &authority):
		return "its certificate is signed by nobody that this machine trusts", "name a PEM file with its authority in ca:, or install that on this machine"
	case errors.As(err, &host):
		return "its certificate is for another name: " + host.Error(), "use the name that the certificate has"
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return "its certificate has expired, or is not valid yet", "renew it, and look at this machine's clock"
		}
		return "its certificate is not valid: " + invalid.Error(), ""
	case errors.As(err, &record):
		return "it does not speak TLS there", "look at the port, and at whether it wants TLS from the start"
	case errors.As(err, &alert):
		return "it refused the TLS handshake: " + alert.Error(), "look at which versions of TLS it takes, and whether it wants a certificate"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "it closed the connection without an answer", "the other side's log says more"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it did not answer in time", "is it up, and does a firewall let this machine through?"
	}
	text := reason(err)
	if strings.Contains(text, "certificate") {
		hint = "look at its certificate, and at ca:"
	}
	return text, hint
}
