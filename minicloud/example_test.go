package minicloud_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"minicloud.internal/minicloud"
)

func ExampleStart() {
	data, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(data)
	cloud, err := minicloud.Start(context.Background(), minicloud.Options{
		Configs:   "../configs",
		Data:      data,
		Log:       io.Discard,
		LookupEnv: minicloud.FreePorts, // beside whatever else runs
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() {
		resp, err := client.Get("http://" + cloud.Address("load-balancer") + "/api/spells/2")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(resp.Status, strings.TrimSpace(string(body)))
	}
	get()
	_ = cloud.StopPart("cache-store") // the API goes on without it
	get()
	// Output:
	// 200 OK {"id":2,"name":"Lumos","description":"Creates light"}
	// 200 OK {"id":2,"name":"Lumos","description":"Creates light"}
}

// TestTheReadmeIsTrue holds that its Go code is in the example above, which
// runs, and that it names every variable and every flag.
func TestTheReadmeIsTrue(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	flat := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for i, block := range strings.Split(string(readme), "```") {
		if code, ok := strings.CutPrefix(block, "go\n"); i%2 == 1 && ok && !strings.Contains(flat(string(source)), flat(code)) {
			t.Errorf("this is in no example:\n%s", code)
		}
	}
	words := append(minicloud.PortVariables(), "`-configs", "`-state", "`-data", "`-d`", "`-mode", "`-f`", "MINICLOUD_DATA", "COMPOSE_PROJECT_NAME")
	for _, word := range words {
		if !strings.Contains(string(readme), word) {
			t.Errorf("the README does not name %s", word)
		}
	}
}
