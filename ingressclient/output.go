package ingressclient

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
)

// A sink is where the answer goes: standard output or a file. A file is written
// beside its place and takes it when it is whole.
type sink struct {
	w        io.Writer
	file     *os.File // nil: standard output
	temp     string   // of file; empty: it is written in place (a device, a pipe)
	name     string
	terminal bool // binary data must not go there
	bodyLen  int64
	last     byte
	binary   bool
}

// openSink opens the output before anything is sent.
func (c *command) openSink(t *target) (*sink, error) {
	name := c.output
	if c.remoteName {
		name = path.Base(t.url.Path)
		if name == "/" || name == "." || name == ".." {
			return nil, failf(exitWrite, "-O finds no file name in the URL %s", t.url).withHint("-o FILE names the file")
		}
	}
	if name == "" || name == "-" {
		return &sink{w: c.stdout, name: "standard output", terminal: name == "" && isTerminal(c.stdout)}, nil
	}
	// Through a link, what it points to is replaced and not the link.
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	s := &sink{name: name}
	st, err := os.Stat(name)
	switch {
	case err == nil && st.IsDir():
		return nil, writeFailure(name, errors.New("it is a folder"))
	case err == nil && !st.Mode().IsRegular():
		s.file, err = os.OpenFile(name, os.O_WRONLY, 0)
	default:
		s.temp = filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+rand.Text()[:8]+".part")
		mode := os.FileMode(0o666)
		if err == nil {
			mode = st.Mode().Perm()
		}
		s.file, err = os.OpenFile(s.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	}
	if err != nil {
		return nil, writeFailure(name, err)
	}
	s.w = s.file
	return s, nil
}

func writeFailure(name string, err error) *failure {
	var cause *os.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return failf(exitWrite, "Cannot write %s: %v", name, err).withHint("-o FILE writes to another place")
}

// head writes the head of an answer.
func (s *sink) head(p []byte) error {
	if _, err := s.w.Write(p); err != nil {
		return writeFailure(s.name, err)
	}
	return nil
}

// Write writes a part of the body at once: nothing is held back.
func (s *sink) Write(p []byte) (int, error) {
	if s.bodyLen == 0 && bytes.IndexByte(p, 0) >= 0 {
		s.binary = true
		if s.terminal {
			return 0, failf(exitWrite, "The body is binary, which can garble a terminal").
				withHint("-o FILE saves it, -o - prints it all the same")
		}
	}
	n, err := s.w.Write(p)
	if n > 0 {
		s.bodyLen += int64(n)
		s.last = p[n-1]
	}
	if err != nil {
		return n, writeFailure(s.name, err)
	}
	return n, nil
}

// commit ends the output: the file takes its place. On a terminal a text
// without an end of line gets one, so that the prompt stands on its own.
func (s *sink) commit() error {
	if s.file == nil {
		if s.terminal && s.bodyLen > 0 && s.last != '\n' && !s.binary {
			_, _ = io.WriteString(s.w, "\n")
		}
		return nil
	}
	file := s.file
	s.file = nil
	err := file.Close()
	if err == nil && s.temp != "" {
		err = os.Rename(s.temp, s.name)
	}
	if err != nil {
		s.remove()
		return writeFailure(s.name, err)
	}
	return nil
}

// discard drops a file that is not whole. After commit it does nothing.
func (s *sink) discard() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
		s.remove()
	}
}

func (s *sink) remove() {
	if s.temp != "" {
		_ = os.Remove(s.temp)
	}
}
