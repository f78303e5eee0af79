package minicloud

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/kit"
)

// siteName is the name that the cloud serves.
const siteName = "example.com"

// waitReady asks the cloud, by its own DNS and through its load balancer, for
// the spells until it answers 200, and returns the last reason it did not.
func waitReady(ctx context.Context, resolverAddress string) error {
	dial := kit.DialFunc(nil).Or()
	dns := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, resolverAddress)
	}}
	client := kit.NewHTTPClient(nil, 2*time.Second)
	defer client.CloseIdleConnections()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx, dns, client)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the cloud does not answer: %w", err)
		}
	}
}

func ready(ctx context.Context, dns *net.Resolver, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, services, err := dns.LookupSRV(ctx, "http", "tcp", siteName+".")
	if err != nil {
		return err
	}
	addresses, err := dns.LookupHost(ctx, strings.TrimSuffix(services[0].Target, ".")+".")
	if err != nil {
		return err
	}
	at := net.JoinHostPort(addresses[0], strconv.Itoa(int(services[0].Port)))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/api/spells", nil)
	if err != nil {
		return err
	}
	r.Host = siteName
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return kit.ReadProblem(resp)
	}
	return nil
}
