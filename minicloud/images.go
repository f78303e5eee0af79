package minicloud

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// BuildImages makes the image minicloud/<name> of every service from the binary
// of that name in the directory bin, by the file Dockerfile.prebuilt in root.
// Unchanged binaries cost nothing: the engine knows their layers.
func BuildImages(ctx context.Context, root, bin string) error {
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile.prebuilt"))
	if err != nil {
		return err
	}
	env := os.Environ()
	if _, err := output(ctx, answerLimit, "docker", "buildx", "version"); err != nil {
		env = append(env, "DOCKER_BUILDKIT=0") // a client without BuildKit must be told so
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, name := range Images() {
		group.Go(func() error {
			binary, err := os.ReadFile(filepath.Join(bin, name))
			if err != nil {
				return fmt.Errorf("image of %s: %w; `make build` makes the binaries", name, err)
			}
			cmd := exec.CommandContext(ctx, "docker", "build", "-q", "-t", "minicloud/"+name, "-")
			cmd.Env = env
			var complaint bytes.Buffer
			cmd.Stderr = &complaint
			if cmd.Stdin, err = buildContext(dockerfile, binary); err != nil {
				return err
			}
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("image of %s: %s", name, lastLine(complaint.String(), err))
			}
			return nil
		})
	}
	return group.Wait()
}

// pruneImages removes the images that newer ones of the same name have replaced,
// as far as no container runs them. Their label tells them from the user's own.
func pruneImages(ctx context.Context) error {
	_, err := output(ctx, answerLimit, "docker", "image", "prune", "--force", "--filter", "label=minicloud.image")
	return err
}

// buildContext is the tar stream that Dockerfile.prebuilt expects. Its times
// are fixed, so that equal binaries make equal layers.
func buildContext(dockerfile, binary []byte) (io.Reader, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		header tar.Header
		body   []byte
	}{
		{tar.Header{Name: "Dockerfile", Mode: 0o644}, dockerfile},
		{tar.Header{Name: "data/", Mode: 0o755, Typeflag: tar.TypeDir}, nil},
		{tar.Header{Name: "service", Mode: 0o755}, binary},
	} {
		f.header.Size = int64(len(f.body))
		if err := w.WriteHeader(&f.header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	return &buf, w.Close()
}
