package objectstorage

import (
	"slices"
	"testing"
)

func TestAliases(t *testing.T) {
	c := DefaultConfig()
	c.Hosts, c.Aliases = []string{"localhost", "s3.localhost", "s3.example.com"}, []string{"localhost:8007", "s3.example.com"}
	for _, test := range []struct {
		name, host string
		want       []string
	}{
		{"the other ones", "localhost:8007", []string{"s3.example.com"}},
		{"all, to a host that is none of them", "192.0.2.1:8007", []string{"localhost:8007", "s3.example.com"}},
		{"with the bucket", "photos.s3.example.com", []string{"photos.localhost:8007"}},
		{"with a bucket that has dots", "a.b.s3.example.com:8080", []string{"a.b.localhost:8007", "a.b.s3.example.com"}},
		{"in any spelling", "Photos.S3.Example.COM", []string{"photos.localhost:8007", "photos.s3.example.com"}},
		{"the longest domain counts, whose own name has no bucket", "s3.localhost", []string{"localhost:8007", "s3.example.com"}},
		{"an address without a port", "[::1]", []string{"localhost:8007", "s3.example.com"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := c.aliases(test.host); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestAnonymousOfTheConfiguration(t *testing.T) {
	c := DefaultConfig()
	if c.anonymous("files") != "read-write" || c.anonymous("other") != "" {
		t.Errorf("by default files is %q, another %q", c.anonymous("files"), c.anonymous("other"))
	}
	c.Anonymous = map[string]string{"files": "none", "other": "read"}
	if c.anonymous("files") != "" || c.anonymous("other") != "read" {
		t.Errorf("files is %q, the other %q", c.anonymous("files"), c.anonymous("other"))
	}
}

func TestSecret(t *testing.T) {
	c := DefaultConfig()
	c.Credentials = append(c.Credentials, Credential{"second", "its secret"})
	for accessKey, want := range map[string]string{"minicloud": "minicloud-secret", "second": "its secret", "third": "", "": ""} {
		if got, ok := c.secret(accessKey); got != want || ok != (want != "") {
			t.Errorf("the secret of %q is %q, %t", accessKey, got, ok)
		}
	}
}
