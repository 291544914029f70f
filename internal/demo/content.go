package demo

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// plan is what follows from the options: how much of everything.
type plan struct {
	seed     uint64
	progress interface{ Add(int64) }

	customers, agents, tickets, messages int

	textBytes, attachmentBytes, uploadBytes int64

	largest float64 // bytes of the largest document
}

const (
	minimumSize = 1 << 20
	kilobyte    = 1 << 10
)

func newPlan(opts Options) *plan {
	size := max(opts.Size, minimumSize)
	p := &plan{
		seed: opts.Seed, progress: opts.Progress,
		messages: int(size / (10 * kilobyte)),
		largest:  float64(min(max(size/100, 16*kilobyte), 4<<20)),
	}
	p.tickets = p.messages/4 + 1
	p.customers = p.tickets/8 + 4
	p.agents = min(p.customers/10+3, 40)
	p.textBytes = int64(p.messages) * 600
	p.attachmentBytes = (size - p.textBytes) * 45 / 100
	p.uploadBytes = size - p.textBytes - p.attachmentBytes
	return p
}

// stream returns the source of random numbers for one purpose. Streams do not
// depend on one another, so that more of one thing changes no other.
func stream(seed uint64, purpose string, index uint64) *rand.ChaCha8 {
	text := binary.BigEndian.AppendUint64([]byte(purpose), seed)
	return rand.NewChaCha8(sha256.Sum256(binary.BigEndian.AppendUint64(text, index)))
}

// firstDay is when the helpdesk opened. All times derive from it: the content
// must not depend on when it was made.
var firstDay = time.Date(2024, time.January, 8, 7, 30, 0, 0, time.UTC)

// document is an attachment or an upload.
type document struct {
	index     uint64 // equal indexes are equal documents
	size      int
	extension string
	mime      string
}

var documentKinds = []struct {
	extension, mime string
	weight          float64
}{
	{"jpg", "image/jpeg", 0.40},
	{"png", "image/png", 0.15},
	{"pdf", "application/pdf", 0.30},
	{"log", "text/plain", 0.15},
}

// document describes document number index: many small ones, few large ones.
func (p *plan) document(index uint64) document {
	r := rand.New(stream(p.seed, "document", index))
	const smallest = 4 * kilobyte
	d := document{index: index, size: int(smallest * math.Pow(p.largest/smallest, r.Float64()))}
	at := r.Float64()
	for _, kind := range documentKinds {
		d.extension, d.mime = kind.extension, kind.mime
		if at -= kind.weight; at < 0 {
			break
		}
	}
	return d
}

// bytes makes the document's content: headers that programs recognise, and
// bodies that compress as the real ones do - pictures not at all, PDF
// partly, logs well.
func (p *plan) bytes(d document) []byte {
	source := stream(p.seed, "content", d.index)
	data := make([]byte, 0, d.size+256)
	switch d.extension {
	case "jpg":
		data = append(data, "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x01\x00\x48\x00\x48\x00\x00"...)
		data = appendRandom(data, source, d.size-len(data))
	case "png":
		data = append(data, "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x04\x00\x00\x00\x03\x00\x08\x02\x00\x00\x00"...)
		data = appendRandom(data, source, d.size-len(data))
	case "pdf":
		data = appendPDF(data, source, d.size)
	default:
		data = appendLog(data, rand.New(source), d.size)
	}
	return data[:d.size]
}

func appendRandom(data []byte, source *rand.ChaCha8, n int) []byte {
	n = max(n, 0)
	at := len(data)
	data = append(data, make([]byte, n)...)
	_, _ = source.Read(data[at:]) // documented to never fail
	return data
}

func appendPDF(data []byte, source *rand.ChaCha8, size int) []byte {
	r := rand.New(source)
	data = append(data, "%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"...)
	for object := 1; len(data) < size; object++ {
		length := 1000 + r.IntN(12000)
		data = strconv.AppendInt(data, int64(object), 10)
		data = append(data, " 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 595 842] /Filter /FlateDecode /Length "...)
		data = strconv.AppendInt(data, int64(length), 10)
		data = append(data, " >>\nstream\n"...)
		data = appendRandom(data, source, length)
		data = append(data, "\nendstream\nendobj\n"...)
		data = appendLog(data, r, len(data)+600)
	}
	return data
}

var logLines = []string{
	" INFO  mail: message accepted from=", " INFO  queue: delivered after ms=", " WARN  sync: retry, the peer answered late, attempt=",
	" ERROR printer: out of paper, tray=", " DEBUG cache: refreshed entries=",
}

func appendLog(data []byte, r *rand.Rand, size int) []byte {
	at := firstDay
	for len(data) < size {
		at = at.Add(time.Duration(r.IntN(90_000)) * time.Millisecond)
		data = at.AppendFormat(data, "2006-01-02T15:04:05.000Z")
		data = append(data, logLines[r.IntN(len(logLines))]...)
		data = strconv.AppendUint(data, r.Uint64N(1_000_000), 10)
		data = append(data, '\n')
	}
	return data
}
