package authority

import (
	"bytes"
	"fmt"

	"github.com/miekg/dns"
)

// Names are kept in wire form (RFC 1035, section 3.1): labels, each behind its
// length, and a zero octet. In it a dot or any other octet inside of a label
// needs no escape, and the parent of a name is a suffix of it.

const (
	maxName = 255 // octets of a name
	root    = "\x00"
	star    = "\x01*"
)

// packName returns a name in wire form, its case kept.
func packName(name string) ([]byte, error) {
	buf := make([]byte, maxName+1)
	n, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil || n > maxName {
		return nil, fmt.Errorf("%q is no domain name", name)
	}
	return buf[:n:n], nil
}

// text returns a name as it is written in zone files. It was a name on the wire,
// so that it can be written.
func text[T string | []byte](name T) string {
	out, _, err := dns.UnpackDomainName([]byte(name), 0)
	if err != nil {
		return fmt.Sprintf("%q", name)
	}
	return out
}

// appendText does so without allocation, in at most the capacity of dst.
func appendText(dst, name []byte) []byte {
	if len(name) == 1 {
		return append(dst, '.')
	}
	for i := 0; name[i] != 0; i += 1 + int(name[i]) {
		for _, b := range name[i+1 : i+1+int(name[i])] {
			if cap(dst)-len(dst) < 5 {
				return dst
			}
			switch {
			case b <= ' ' || b >= 0x7f:
				dst = append(dst, '\\', '0'+b/100, '0'+b/10%10, '0'+b%10)
			case bytes.IndexByte([]byte(`."();@$\`), b) >= 0:
				dst = append(dst, '\\', b)
			default:
				dst = append(dst, b)
			}
		}
		dst = append(dst, '.')
	}
	return dst
}

// appendLower appends a name in lower case: ASCII letters only (RFC 4343). A
// length is never taken for a letter, because it is at most 63.
func appendLower(dst, name []byte) []byte {
	for _, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// lower returns a name in lower case.
func lower(name []byte) string {
	return string(appendLower(make([]byte, 0, len(name)), name))
}

// parent cuts the first label off. The root has none.
func parent[T string | []byte](name T) T {
	return name[1+int(name[0]):]
}

// within reports whether a name is another, or lies below it; both in lower case.
func within(name, above string) bool {
	for len(name) > len(above) {
		name = parent(name)
	}
	return name == above
}

// nameLength returns how many octets the name has that data begins with; names
// in zones are valid and without compression.
func nameLength(data []byte) int {
	i := 0
	for data[i] != 0 {
		i += 1 + int(data[i])
	}
	return i + 1
}
