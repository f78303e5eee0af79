package authority

import (
	"bytes"

	"minicloud.internal/dns/internal/wirename"
)

// Names are kept in wire form, as package wirename has them.

// star is the first label of a wildcard.
const star = "\x01*"

// appendText appends a name as [wirename.Text] writes it, and of one that does not
// fit into the capacity of dst its beginning: the fast path allocates nothing. There
// must be room for one octet.
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
			case b < ' ' || b > '~':
				dst = append(dst, '\\', '0'+b/100, '0'+b/10%10, '0'+b%10)
			case bytes.IndexByte([]byte(`. '@;()"\`), b) >= 0:
				dst = append(dst, '\\', b)
			default:
				dst = append(dst, b)
			}
		}
		dst = append(dst, '.')
	}
	return dst
}

// within reports whether a name is another, or lies below it; both in lower case.
func within(name, above string) bool {
	for len(name) > len(above) {
		name = wirename.Parent(name)
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
