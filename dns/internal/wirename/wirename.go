// Package wirename has names in wire form (RFC 1035, section 3.1): labels, each
// behind its length, and a zero octet. In it a dot or any other octet inside of a
// label needs no escape, and the parent of a name is a suffix of it.
package wirename

import (
	"fmt"

	"github.com/miekg/dns"
)

const (
	// Max is how many octets a name has at most (RFC 1035, section 2.3.4).
	Max = 255
	// Root is the name of the root.
	Root = "\x00"
)

// Pack returns a name as it is written in zone files, with or without its final
// dot, in wire form; its case is kept.
func Pack(name string) ([]byte, error) {
	buf := make([]byte, Max)
	n, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("%q is no domain name", name)
	}
	return buf[:n:n], nil
}

// Text returns a name as it is written in zone files. One that is no name, which
// was never on the wire, is quoted.
func Text[T string | []byte](name T) string {
	out, _, err := dns.UnpackDomainName([]byte(name), 0)
	if err != nil {
		return fmt.Sprintf("%q", name)
	}
	return out
}

// AppendLower appends a name in lower case: ASCII letters only (RFC 4343). A
// length is never taken for a letter, because it is at most 63.
func AppendLower(dst, name []byte) []byte {
	for _, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

// Lower returns a name in lower case.
func Lower(name []byte) string {
	return string(AppendLower(make([]byte, 0, len(name)), name))
}

// Parent cuts the first label off. The root has none.
func Parent[T string | []byte](name T) T {
	return name[1+int(name[0]):]
}
