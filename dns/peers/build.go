package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles one of our programs from the source that the working directory
// is in, into dir, and returns its path.
func Build(ctx context.Context, k Kind, dir string) (string, error) {
	if !k.Ours() {
		return "", fmt.Errorf("%s is not ours to build", k)
	}
	out := filepath.Join(dir, string(k))
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", out, "minicloud.internal/dns/cmd/"+string(k))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", k, err, text)
	}
	return out, nil
}
