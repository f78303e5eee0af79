package server

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime/debug"
	"unicode/utf8"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// A fastPath is what one goroutine needs to answer queries in place: nothing is
// allocated for each. It asks the handler's [Fast] side.
type fastPath struct {
	*core
	query FastQuery
	reply FastReply
	edns  edns
	end   int // of the question in the message
	opt   int // where the OPT record of the answer begins; 0: none
	// trusted says that the client has shown a valid server cookie, and
	// therefore lives where it says.
	trusted  bool
	name     [wirename.Max]byte
	sentence [255]byte
}

// answer answers a query at the time query.Now in out, which has room for size
// octets. The answer that it returns may stand elsewhere where the handler moved
// it.
func (f *fastPath) answer(wire []byte, source netip.AddrPort, size func(*edns) int, out []byte) ([]byte, verdict) {
	f.trusted, f.opt = false, 0
	if v := f.parse(wire); v != answered {
		return nil, v
	}
	optSize, now := 0, f.query.Now
	total := size(&f.edns)
	if f.edns.present {
		optSize = f.optSize()
		if f.edns.cookie {
			f.trusted = f.cookies.check(&f.edns, source.Addr(), uint32(now/1e9))
		}
	}
	f.query.Source, f.query.Limit = source, total-optSize
	f.reply = FastReply{Sentence: f.sentence[:0]}
	msg, ok := f.ask(append(out[:0], wire[:f.end]...))
	if !ok || len(msg) > f.query.Limit {
		return nil, general
	}
	r := &f.reply
	msg[2] = wire[2]&flagRD | flagQR
	msg[3] = r.Rcode & 0xF
	if r.RecursionAvailable {
		msg[3] |= flagRA
	}
	if r.Truncated {
		msg[2] |= flagTC
	}
	if r.Authoritative {
		msg[2] |= flagAA
	} else {
		msg[3] |= wire[3] & flagCD // see [core.settle]
	}
	additional := r.Additional
	if f.edns.present {
		additional++
		msg = f.appendOPT(msg, total)
	}
	binary.BigEndian.PutUint16(msg[6:], r.Answer)
	binary.BigEndian.PutUint16(msg[8:], r.Authority)
	binary.BigEndian.PutUint16(msg[10:], additional)
	return msg, answered
}

// ask calls the handler and survives it.
func (f *fastPath) ask(msg []byte) (longer []byte, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			f.logger.Error("a query ended in a panic", "question", f.question(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			f.reply = FastReply{Rcode: dns.RcodeServerFailure}
			longer, ok = msg, true
		}
	}()
	return f.fast.AnswerFast(&f.query, msg, &f.reply)
}

// question is for people.
func (f *fastPath) question() string {
	name, _, err := dns.UnpackDomainName(f.query.Name, 0)
	if err != nil {
		return ""
	}
	return name + " " + dns.Type(f.query.Type).String()
}

// optSize returns how many octets the OPT record has, without an extended error.
func (f *fastPath) optSize() int {
	n := optSize
	if f.edns.cookie {
		n += cookieOptionSize
	}
	if f.edns.nsid && f.nsid != "" {
		n += 4 + len(f.nsid)
	}
	return n
}

// appendOPT appends the OPT record that answers the query's own (RFC 6891,
// section 7). The message may have total octets: an extended error is cut to
// what is left.
func (f *fastPath) appendOPT(msg []byte, total int) []byte {
	start := len(msg)
	f.opt = start
	do := byte(0)
	if f.edns.do {
		do = 0x80 // copied as RFC 3225, section 3 has it
	}
	msg = append(msg, 0, 0, byte(dns.TypeOPT), UDPSize>>8, UDPSize&0xFF, 0, 0, do, 0, 0, 0)
	if f.edns.cookie {
		msg = append(msg, 0, dns.EDNS0COOKIE, 0, clientCookieSize+serverCookieSize)
		msg = append(msg, f.edns.client[:]...)
		msg = append(msg, f.edns.server[:serverCookieSize]...)
	}
	if f.edns.nsid && f.nsid != "" {
		msg = append(msg, 0, dns.EDNS0NSID, 0, byte(len(f.nsid)))
		msg = append(msg, f.nsid...)
	}
	if room := total - len(msg) - 6; f.reply.Explained && room >= 0 {
		sentence := CutText(f.reply.Sentence, min(room, MaxSentence))
		msg = append(msg, 0, dns.EDNS0EDE)
		msg = binary.BigEndian.AppendUint16(msg, uint16(2+len(sentence)))
		msg = binary.BigEndian.AppendUint16(msg, f.reply.Code)
		msg = append(msg, sentence...)
	}
	binary.BigEndian.PutUint16(msg[start+9:], uint16(len(msg)-start-optSize))
	return msg
}

// CutText cuts UTF-8 text to at most n octets, between characters.
func CutText[T string | []byte](text T, n int) T {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
