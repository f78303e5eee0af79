package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
)

// A notification is one NOTIFY message (RFC 1996, section 3.7) on its way.
type notification struct {
	id   uint16
	zone string
	key  *Key   // nil: not signed
	mac  string // of the signature, in hexadecimal
	wire []byte
}

// newNotification says that this is the zone's SOA record.
func newNotification(zone string, soa *dns.SOA, key *Key) (*notification, error) {
	m := &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: dns.Id(), Opcode: dns.OpcodeNotify, Authoritative: true},
		Question: []dns.Question{{Name: zone, Qtype: dns.TypeSOA, Qclass: dns.ClassINET}},
		Answer:   []dns.RR{soa},
	}
	n := &notification{id: m.Id, zone: zone, key: key}
	var err error
	if key == nil {
		n.wire, err = m.Pack()
	} else {
		const fudge = 300 // seconds that the clocks may differ (RFC 8945, section 10)
		m.SetTsig(key.CanonicalName(), key.CanonicalAlgorithm(), fudge, time.Now().Unix())
		n.wire, n.mac, err = dns.TsigGenerate(m, key.Secret.Base64(), "", false)
	}
	if err != nil {
		return nil, fmt.Errorf("pack the notification of %s: %w", zone, err)
	}
	return n, nil
}

// check returns the response code of an answer to the notification. An error
// says why a message is no answer to it: whoever forges one must not end the
// attempts. Where there is a key, only a signed answer counts (RFC 8945, section
// 5.3).
func (n *notification) check(wire []byte) (int, error) {
	var m dns.Msg
	if len(wire) < header || binary.BigEndian.Uint16(wire) != n.id {
		return 0, errors.New("a message with another id arrived")
	}
	if err := m.Unpack(wire); err != nil {
		return 0, fmt.Errorf("a malformed answer arrived: %w", err)
	}
	switch {
	case !m.Response || m.Opcode != dns.OpcodeNotify:
		return 0, errors.New("a message arrived that is no answer to a notification")
	// A server that refuses a message may leave its question out.
	case len(m.Question) > 1 || len(m.Question) == 0 && m.Rcode == dns.RcodeSuccess:
		return 0, errors.New("an answer without its question arrived")
	case len(m.Question) == 1 && (dns.CanonicalName(m.Question[0].Name) != n.zone || m.Question[0].Qtype != dns.TypeSOA || m.Question[0].Qclass != dns.ClassINET):
		return 0, errors.New("an answer to another question arrived")
	}
	if n.key == nil {
		return m.Rcode, nil
	}
	return m.Rcode, n.verify(wire, &m)
}

// verify checks the signature of an answer.
func (n *notification) verify(wire []byte, m *dns.Msg) error {
	signature := m.IsTsig()
	switch {
	case signature == nil:
		return fmt.Errorf("an answer arrived that is not signed: %s", server.RcodeName(m.Rcode))
	case signature.Error != dns.RcodeSuccess:
		return fmt.Errorf("an answer arrived with the error %d (%s) for the key %s", signature.Error, dns.RcodeToString[int(signature.Error)], n.key.CanonicalName())
	case dns.CanonicalName(signature.Hdr.Name) != n.key.CanonicalName() || dns.CanonicalName(signature.Algorithm) != n.key.CanonicalAlgorithm():
		return errors.New("an answer arrived that is signed with another key or algorithm")
	}
	if err := dns.TsigVerify(wire, n.key.Secret.Base64(), n.mac, false); err != nil {
		return fmt.Errorf("an answer arrived whose signature is wrong: %w", err)
	}
	return nil
}
