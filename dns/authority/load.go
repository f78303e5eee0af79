package authority

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// A loadError is what is wrong with a zone, and which key of its configuration
// says so.
type loadError struct {
	key string
	err error
}

// loadZone reads a zone's file, with the files that it includes, and adds its
// further records. The files that it opened, or could not, it returns in any case.
func loadZone(origin, path string, records []string) (*Zone, []watched, *loadError) {
	b := newBuilder(origin)
	files := &zoneFiles{main: path}
	if err := files.readInto(b); err != nil {
		return nil, files.used, &loadError{".file", err}
	}
	for i, entry := range records {
		b.zone.files = append(b.zone.files, fmt.Sprintf("records[%d] of %s", i, b.zone.origin))
		if err := b.addEntry(entry); err != nil {
			return nil, files.used, &loadError{fmt.Sprintf(".records[%d]", i), fmt.Errorf("is %q, expected a record as in a zone file: %w", entry, err)}
		}
	}
	z, err := b.finish()
	if err != nil {
		return nil, files.used, &loadError{".file", fmt.Errorf("is not a valid zone: %s: %w", path, err)}
	}
	return z, files.used, nil
}

// ReadZone reads a zone from the text of a zone file, which may not include
// another. The name stands in errors, with the line.
func ReadZone(origin string, text io.Reader, name string) (*Zone, error) {
	wire, err := wirename.Pack(origin)
	if err != nil {
		return nil, err
	}
	b := newBuilder(wirename.Lower(wire))
	b.push(text, name)
	if err := b.read(name, nil); err != nil {
		return nil, err
	}
	z, err := b.finish()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return z, nil
}

// A lineReader hands the parser its bytes one by one, and so knows the line of
// the record that the parser returns last; the parser tells the lines of syntax
// errors only.
type lineReader struct {
	*bufio.Reader
	name   string
	file   uint16 // in Zone.files
	lines  int    // that have ended
	column int    // in the line that has not
}

// generate is a directive that no RFC has. The parser would give its records
// another TTL than the zone's.
const generate = "$GENERATE"

// ReadByte implements [io.ByteReader]. It ends with an error at [generate].
func (l *lineReader) ReadByte() (byte, error) {
	if l.column == 0 {
		if next, _ := l.Peek(len(generate)); strings.EqualFold(string(next), generate) {
			return 0, fmt.Errorf("%s:%d: %s is no directive of RFC 1035, expected the records themselves", l.name, l.lines+1, generate)
		}
	}
	c, err := l.Reader.ReadByte()
	switch {
	case err != nil:
	case c == '\n':
		l.lines, l.column = l.lines+1, 0
	default:
		l.column++
	}
	return c, err
}

// line returns the line that was read last.
func (l *lineReader) line() int {
	if l.column > 0 {
		return l.lines + 1
	}
	return max(l.lines, 1)
}

// noTTL is what the parser gives a record that has no TTL, where it would give 0;
// no record may have so much.
const noTTL = 1<<32 - 1

// push makes text what is read from now on, until pop.
func (b *builder) push(text io.Reader, name string) *lineReader {
	l := &lineReader{Reader: bufio.NewReader(text), name: name, file: uint16(len(b.zone.files))}
	b.zone.files = append(b.zone.files, name)
	b.open = append(b.open, l)
	return l
}

func (b *builder) pop() { b.open = b.open[:len(b.open)-1] }

// here returns the position of the record that was read last.
func (b *builder) here() position {
	l := b.open[len(b.open)-1]
	return position{l.file, uint32(l.line())}
}

// read adds all records of the reader that was pushed. The file system is where
// included files come from; nil for none.
func (b *builder) read(name string, include fs.FS) error {
	parser := dns.NewZoneParser(b.open[0], b.zone.origin, name)
	parser.SetDefaultTTL(noTTL)
	if include != nil {
		parser.SetIncludeAllowed(true)
		parser.SetIncludeFS(include)
	}
	for {
		rr, ok := parser.Next()
		if !ok {
			break
		}
		if err := b.add(rr, b.here()); err != nil {
			return fmt.Errorf("%s: %w", b.zone.where(b.here()), err)
		}
	}
	if err := parser.Err(); err != nil {
		return fmt.Errorf("%s", strings.Replace(err.Error(), ": dns: ", ": ", 1))
	}
	return nil
}

// addEntry adds one entry of [ZoneConfig.Records].
func (b *builder) addEntry(entry string) error {
	parser := dns.NewZoneParser(strings.NewReader(entry+"\n"), b.zone.origin, "")
	parser.SetDefaultTTL(noTTL)
	rr, ok := parser.Next()
	if !ok && hasEmptyField(entry) {
		b.zone.skipped = append(b.zone.skipped, entry)
		return nil
	}
	if err := parser.Err(); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "dns: "))
	}
	if _, more := parser.Next(); !ok || more || parser.Err() != nil {
		return fmt.Errorf("it does not hold one record")
	}
	return b.add(rr, position{file: uint16(len(b.zone.files) - 1)})
}

// hasEmptyField reports whether a variable in the entry may have been empty.
func hasEmptyField(entry string) bool {
	return strings.TrimSpace(entry) != entry || entry == "" || strings.Contains(entry, "  ")
}

// zoneFiles are a zone file and what it includes: files in its own directory or
// below it, wherever a path or a symbolic link leads to. A relative name begins
// at the directory of the file that includes it. It is the [fs.FS] of the parser.
type zoneFiles struct {
	main    string // as configured
	builder *builder
	root    *os.Root
	used    []watched
	opened  []*os.File
}

// maxIncludes bounds what a zone includes in all; the parser bounds the depth,
// with 7.
const maxIncludes = 1000

var errIrregular = errors.New("it is no regular file")

// openRegular opens a file, unless that might wait for ever, as a pipe would.
func openRegular(name string, stat func(string) (fs.FileInfo, error), open func(string) (*os.File, error)) (*os.File, error) {
	if info, err := stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	return open(name)
}

// readInto reads the whole of it.
func (f *zoneFiles) readInto(b *builder) error {
	file, err := openRegular(f.main, os.Stat, os.Open)
	f.used = append(f.used, seen(f.main, file, err))
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	defer file.Close()
	if f.root, err = os.OpenRoot(filepath.Dir(f.main)); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	defer f.root.Close()
	defer func() {
		for _, included := range f.opened {
			_ = included.Close()
		}
	}()
	f.builder = b
	b.push(file, f.main)
	if err = b.read(f.main, f); err == nil {
		return nil
	}
	// The parser names included files without the slash that they begin with.
	message := err.Error()
	for _, file := range b.zone.files[1:] {
		if strings.HasPrefix("/"+message, file+":") {
			message = "/" + message
			break
		}
	}
	return fmt.Errorf("is not a valid zone: %s", message)
}

// Open opens a file to include, by its path without the slash that it may begin
// with: that is what the parser makes of every path.
func (f *zoneFiles) Open(name string) (fs.File, error) {
	dir := path.Clean(filepath.ToSlash(filepath.Dir(f.main)))
	inside, ok := strings.CutPrefix(name, strings.TrimSuffix(strings.TrimLeft(dir, "/"), "/")+"/")
	if dir == "." || dir == "/" {
		inside, ok = name, true
	}
	if !ok || !filepath.IsLocal(inside) {
		return nil, fmt.Errorf("it lies outside of %s, the directory of the zone file", dir)
	}
	full := path.Join(dir, inside)
	for _, l := range f.builder.open {
		if l.name == full || full == path.Clean(f.main) {
			return nil, errors.New("it is being read already, and would include itself without end")
		}
	}
	if len(f.opened) == maxIncludes {
		return nil, fmt.Errorf("a zone includes at most %d files", maxIncludes)
	}
	file, err := openRegular(inside, f.root.Stat, f.root.Open)
	f.used = append(f.used, seen(full, file, err))
	if err != nil {
		return nil, err
	}
	f.opened = append(f.opened, file)
	return &includedFile{f.builder.push(file, full), file, f.builder}, nil
}

// An includedFile is read while no other is, from its opening to its closing.
type includedFile struct {
	*lineReader
	file    *os.File
	builder *builder
}

func (i *includedFile) Stat() (fs.FileInfo, error) { return i.file.Stat() }

func (i *includedFile) Close() error {
	i.builder.pop()
	return i.file.Close()
}
