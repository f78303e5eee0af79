package http1

import (
	"bytes"
	"strings"
	"testing"
)

// decode gives a Decoder the input in pieces of at most size bytes.
func decode(d *Decoder, input []byte, size int) (data []byte, used int, done bool, err *Error) {
	d.Reset(64)
	for used < len(input) && !done && err == nil {
		piece := bytes.Clone(input[used:min(used+size, len(input))])
		var n, u int
		n, u, done, err = d.Decode(piece)
		data, used = append(data, piece[:n]...), used+u
	}
	return data, used, done, err
}

// decodeEach decodes the input whole, in pieces of every size, and in two pieces
// split anywhere. The outcome must be the same.
func decodeEach(t *testing.T, d *Decoder, input string) (data []byte, used int, done bool, err *Error) {
	t.Helper()
	data, used, done, err = decode(d, []byte(input), len(input)+1)
	for size := 1; size < len(input); size++ {
		got, u, dn, e := decode(d, []byte(input), size)
		if !bytes.Equal(got, data) || u != used || dn != done || e != err {
			t.Errorf("%q in pieces of %d gives %q, %d, %t, %v", input, size, got, u, dn, e)
		}
		d.Reset(64)
		head, tail := []byte(input[:size]), []byte(input[size:])
		n, u, dn, e := d.Decode(head)
		if !dn && e == nil {
			more, v, dn2, e2 := d.Decode(tail)
			head, n, u, dn, e = append(head[:n:n], tail[:more]...), n+more, u+v, dn2, e2
		}
		if !bytes.Equal(head[:n], data) || u != used || dn != done || e != err {
			t.Errorf("%q split at %d gives %q, %d, %t, %v", input, size, head[:n], u, dn, e)
		}
	}
	return data, used, done, err
}

func TestAChunkedBodyIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		want  *Error
	}{
		"without a size":                         {"\r\n", errChunkSize},
		"whose size is not hexadecimal":          {"g\r\n", errChunkSize},
		"whose size is negative":                 {"-1\r\n", errChunkSize},
		"whose size has a prefix":                {"0x5\r\n", errChunkSize},
		"whose size has an underscore":           {"1_0\r\n", errChunkSize},
		"whose size follows white space":         {" 5\r\n", errChunkSize},
		"whose size is an extension alone":       {";a\r\n", errChunkSize},
		"whose size has over 63 bits":            {"8000000000000000\r\n", errChunkSizeLarge},
		"whose size has over 64 bits":            {"10000000000000005\r\n", errChunkSizeLarge},
		"whose size has 17 digits":               {"00000000000000005\r\n", errChunkSizeLarge},
		"whose size ends with a bare LF":         {"5\nhello\r\n", errBareLF},
		"whose size ends with a bare CR":         {"5\rhello\r\n", errBareCR},
		"whose size is followed by white space":  {"5 \r\nhello\r\n", errChunkSpace},
		"whose size is followed by a word":       {"5 a\r\nhello\r\n", errChunkSpace},
		"whose white space ends with a bare LF":  {"5 \nhello\r\n", errBareLF},
		"whose extension ends with a bare LF":    {"5;a\nhello\r\n", errBareLF},
		"whose extension ends with a bare CR":    {"5;a\rhello\r\n", errBareCR},
		"whose extension has a control":          {"5;a\x00\r\nhello\r\n", errChunkExt},
		"whose extension is over its limit":      {"5;" + strings.Repeat("a", 256) + "\r\nhello\r\n", errChunkExtLong},
		"whose white space is over its limit":    {"5" + strings.Repeat(" ", 257) + ";\r\nhello\r\n", errChunkExtLong},
		"whose data are shorter than their size": {"5\r\nhell\r\n0\r\n\r\n", errChunkEnd},
		"whose data are longer than their size":  {"5\r\nhello!\r\n0\r\n\r\n", errChunkEnd},
		"whose data end with a bare LF":          {"5\r\nhello\n0\r\n\r\n", errChunkEnd},
		"whose data end with a bare CR":          {"5\r\nhello\r0\r\n\r\n", errChunkEnd},
		"whose trailer ends with a bare LF":      {"0\r\nA: b\n\r\n", errBareLF},
		"that ends with a bare LF":               {"0\r\n\n", errBareLF},
		"that ends with a bare CR":               {"0\r\n\rG", errBareCR},
		"whose trailer has a bare CR":            {"0\r\nA: b\rc\r\n\r\n", errBareCR},
		"whose trailer is folded":                {"0\r\nA: b\r\n c\r\n\r\n", errFold},
		"whose trailer has no colon":             {"0\r\nA\r\n\r\n", errFieldName},
		"whose trailer has a space before colon": {"0\r\nA : b\r\n\r\n", errSpaceColon},
		"whose trailer has NUL":                  {"0\r\nA: \x00\r\n\r\n", errFieldValue},
		"whose trailer is over its limit":        {"0\r\nA: " + strings.Repeat("b", 60) + "\r\n\r\n", errTrailerLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			if data, _, done, err := decodeEach(t, &d, c.input); done || err != c.want {
				t.Errorf("%q gives %q, %t, %v; want %v", c.input, data, done, err, c.want)
			}
			if _, _, _, err := d.Decode([]byte("0\r\n\r\n")); err != c.want || d.Trailers() != nil {
				t.Errorf("the error is not final: %v, %v", err, d.Trailers())
			}
		})
	}
}

func TestAChunkedBodyIsDecoded(t *testing.T) {
	for name, c := range map[string]struct{ input, data, rest, trailers string }{
		"that is empty":                     {"0\r\n\r\n", "", "", ""},
		"of two chunks":                     {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "", ""},
		"with sizes in any case":            {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", "", ""},
		"with leading zeros":                {"0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", "x", "", ""},
		"up to what follows it":             {"1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "x", "GET / HTTP/1.1\r\n", ""},
		"with extensions":                   {"1;a\r\nx\r\n1 ; b = \"c;\t\xe9\" ;d\r\ny\r\n0;e\r\n\r\n", "xy", "", ""},
		"with the longest extension":        {"1;" + strings.Repeat("a", 255) + "\r\nx\r\n0\r\n\r\n", "x", "", ""},
		"whose data look like chunks":       {"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n\r\n", "", ""},
		"with trailers":                     {"0\r\nA: b\r\na:\tc \r\n\r\nx", "", "x", "A=b a=c"},
		"without trailers that are framing": {"0\r\nContent-Length: 5\r\nA: b\r\nTransfer-Encoding: x\r\n\r\n", "", "", "A=b"},
		"without trailers that route":       {"0\r\nHost: h\r\nX-Forwarded-For: a\r\nX_Real_Ip: a\r\n\r\n", "", "", ""},
		"without trailers that authorize":   {"0\r\nAuthorization: a\r\nCookie: b\r\nSet-Cookie: c\r\n\r\n", "", "", ""},
		"without trailers of this hop":      {"0\r\nConnection: A\r\nTE: b\r\nKeep-Alive: c\r\n\r\n", "", "", ""},
		"without trailers that control":     {"0\r\ncache-CONTROL: a\r\nContent-Type: b\r\nRange: c\r\n\r\n", "", "", ""},
		"with the longest trailer":          {"0\r\nA: " + strings.Repeat("b", 59) + "\r\n\r\n", "", "", "A=" + strings.Repeat("b", 59)},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			data, used, done, err := decodeEach(t, &d, c.input)
			if string(data) != c.data || c.input[used:] != c.rest || !done {
				t.Fatalf("%q gives %q, %d, %t, %v", c.input, data, used, done, err)
			}
			var trailers []string
			for _, f := range d.Trailers() {
				trailers = append(trailers, string(f.Name)+"="+string(f.Value))
			}
			if got := strings.Join(trailers, " "); got != c.trailers || len(trailers) == 0 && d.Trailers() != nil {
				t.Errorf("trailers %v", got)
			}
			if n, used, done, err := d.Decode([]byte("more")); n != 0 || used != 0 || !done || err != nil {
				t.Errorf("after the end: %d, %d, %t, %v", n, used, done, err)
			}
			if d.Reset(0); d.Trailers() != nil {
				t.Error("there are trailers after a Reset")
			}
		})
	}
}

func TestAChunkMayBeOfTheLargestSize(t *testing.T) {
	var d Decoder
	d.Reset(0)
	buf := []byte("7fffffffffffffff\r\nhello")
	if n, used, done, err := d.Decode(buf); string(buf[:n]) != "hello" || used != len(buf) || done || err != nil {
		t.Errorf("%q, %d, %t, %v", buf[:n], used, done, err)
	}
}

func TestTheSumsOfABodyAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		repeat string
		times  int
		end    string
		want   *Error
	}{
		"extensions": {"1;" + strings.Repeat("a", 99) + "\r\nx\r\n", 81, "1;" + strings.Repeat("a", 92), errChunkExtTotal},
		"fields":     {"", 0, "0\r\n" + strings.Repeat("A:\r\n", 33) + "\r\n", errFields},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			d.Reset(1 << 10)
			if _, _, _, err := d.Decode([]byte(strings.Repeat(c.repeat, c.times))); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := d.Decode([]byte(c.end)); err != c.want {
				t.Error(err)
			}
		})
	}
}

func TestZeroRefusesTrailers(t *testing.T) {
	var d Decoder
	d.Reset(0)
	if _, _, _, err := d.Decode([]byte("0\r\nA")); err != errTrailerLarge {
		t.Error(err)
	}
}

func TestAChunkSizeIsWritten(t *testing.T) {
	for n, want := range map[int]string{0: "x0\r\n", 31: "x1f\r\n", 1 << 20: "x100000\r\n"} {
		if got := AppendChunkSize([]byte("x"), n); string(got) != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
