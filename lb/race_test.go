//go:build race

package lb

func init() { raced = true }
