package httpapi

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit/kittest"
)

func readme(t *testing.T) string {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReadmeNamesEveryKeyAndMetric(t *testing.T) {
	text := readme(t)
	kittest.Readme(t, "README.md", &Config{})
	reg := prometheus.NewPedanticRegistry()
	m := must(newMetrics(reg))
	described := make(chan *prometheus.Desc, 100)
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.cache, m.loads, m.refused, m.relayed, m.consumed, m.up} {
		c.Describe(described)
	}
	close(described)
	for d := range described {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1]
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the metric %s is missing", name)
		}
	}
}

var curl = regexp.MustCompile(`(?m)^    curl (.*)$`)

func TestReadmeExamples(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	c.quietNow(r)
	var got []int
	for _, line := range curl.FindAllStringSubmatch(readme(t), -1) {
		// Quotes hold words together; there is no other shell in the examples.
		words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line[1], -1)
		method, path, body, headers := "", "", "", []string(nil)
		for i := 0; i < len(words); i++ {
			next := ""
			if i+1 < len(words) {
				next = strings.Trim(words[i+1], "'")
			}
			switch {
			case words[i] == "-X":
				method, i = next, i+1
			case words[i] == "-d":
				body, i = next, i+1
			case words[i] == "-H":
				key, value, _ := strings.Cut(next, ": ")
				headers, i = append(headers, key, value), i+1
			case strings.HasPrefix(words[i], "http://127.0.0.1:8001/"):
				path = strings.TrimPrefix(words[i], "http://127.0.0.1:8001")
			case strings.HasPrefix(words[i], "http://127.0.0.1:8007/files/"):
				if c.objects.object(strings.TrimPrefix(words[i], "http://127.0.0.1:8007/files/")) == "" {
					t.Errorf("%s: there is no such object", line[1])
				}
			}
		}
		if path == "" {
			continue
		}
		if method == "" && body != "" {
			method = "POST"
		}
		got = append(got, r.call(method, path, body, headers...).status)
	}
	if want := []int{200, 201, 200, 200, 204}; !slices.Equal(got, want) {
		t.Errorf("the examples answer %v, want %v", got, want)
	}
}
