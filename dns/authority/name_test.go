package authority

import (
	"testing"

	"minicloud.internal/dns/internal/wirename"
)

func TestAppendText(t *testing.T) {
	octets := make([]byte, 256)
	for i := range octets {
		octets[i] = byte(i)
	}
	names := []string{wirename.Root, "\x03www\x07example\x00"}
	for label := octets; len(label) > 0; label = label[32:] {
		names = append(names, "\x20"+string(label[:32])+"\x01x\x00")
	}
	for _, name := range names {
		want := wirename.Text(name)
		if got := appendText(make([]byte, 0, 255), []byte(name)); string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		for room := 1; room < len(want); room++ {
			got := appendText(make([]byte, 0, room), []byte(name))
			if cap(got) != room || string(got) != want[:len(got)] {
				t.Fatalf("into %d octets: got %s of %s", room, got, want)
			}
		}
	}
}
