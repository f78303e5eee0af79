package disk

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"time"

	"minicloud.internal/objectstorage/store"
)

// A record is one version of an object. Its row holds, numbers as varints unless
// said otherwise:
//
//	format (1 byte) | flags (1 byte) | seq (8 bytes) | seq of the older null version | modified
//	without a delete marker: size | MD5 (16 bytes) | parts | body
//	attributes | CRC-32C of row and all before (4 bytes, little-endian)
//
// The checksum covers the row's own key, so that a record is good only where it
// was put.
type record struct {
	seq    uint64 // orders the versions of a key; names this one unless it is null
	null   bool   // its version is [store.Null]
	marker bool   // it is a delete marker
	// older says that the key may have older versions; of the latest only.
	older bool
	// nullSeq is the seq of the version Null where that is an older one; of the
	// latest only. 0: it is not.
	nullSeq  uint64
	modified int64 // nanoseconds since 1970
	size     int64
	sum      [16]byte // MD5 of the body, or of the MD5s of its parts
	parts    uint32   // how many parts it was completed of; 0: written at once
	body     location
	attributes
}

type attributes = store.Attributes

// A location says where a body is.
type location struct {
	kind byte
	id   uint64
}

const (
	bodyNone     = 0 // there is nothing: it is empty
	bodyInline   = 1 // in a row 'b'
	bodyFile     = 2 // in a file
	bodyManifest = 3 // in the parts of a row 'q'
)

const (
	recordFormat = 1

	flagNull   = 1
	flagMarker = 2
	flagOlder  = 4
	flagsAll   = flagNull | flagMarker | flagOlder
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends the checksum of a row to its value.
func seal(row, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, crc32.Update(crc32.Checksum(row, castagnoli), castagnoli, value))
}

// unseal verifies the checksum and takes it off.
func unseal(row, value []byte) ([]byte, error) {
	if len(value) < 4 {
		return nil, corrupt("a row has %d bytes", len(value))
	}
	n := len(value) - 4
	if binary.LittleEndian.Uint32(value[n:]) != crc32.Update(crc32.Checksum(row, castagnoli), castagnoli, value[:n]) {
		return nil, corrupt("the checksum of a row is wrong")
	}
	return value[:n], nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", store.ErrCorrupt, fmt.Sprintf(format, args...))
}

func (r *record) encode(row []byte) []byte {
	b := make([]byte, 0, 128)
	b = append(b, recordFormat, flag(r.null, flagNull)|flag(r.marker, flagMarker)|flag(r.older, flagOlder))
	b = binary.BigEndian.AppendUint64(b, r.seq)
	b = binary.AppendUvarint(b, r.nullSeq)
	b = binary.AppendVarint(b, r.modified)
	if !r.marker {
		b = binary.AppendUvarint(b, uint64(r.size))
		b = append(b, r.sum[:]...)
		b = binary.AppendUvarint(b, uint64(r.parts))
		b = r.body.append(b)
	}
	return seal(row, appendAttributes(b, &r.attributes))
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// decodeRecord decodes the value of a row. brief leaves out the attributes that
// listings do not show.
func decodeRecord(row, value []byte, brief bool) (*record, error) {
	value, err := unseal(row, value)
	if err != nil {
		return nil, err
	}
	d := decoder{b: value}
	if format := d.byte(); format != recordFormat {
		return nil, corrupt("a record is of the format %d, expected %d", format, recordFormat)
	}
	flags := d.byte()
	r := &record{null: flags&flagNull != 0, marker: flags&flagMarker != 0, older: flags&flagOlder != 0}
	if flags&^flagsAll != 0 {
		d.bad = true
	}
	r.seq, r.nullSeq, r.modified = d.uint64(), d.uvarint(), d.varint()
	if !r.marker {
		r.size = d.size()
		copy(r.sum[:], d.bytes(16))
		parts := d.uvarint()
		if r.parts = uint32(parts); parts > store.MaxPart {
			d.bad = true
		}
		r.body = d.location()
	}
	d.attributes(&r.attributes, brief)
	return r, d.end()
}

// decodeSize is decodeRecord for who counts, without allocations.
func decodeSize(row, value []byte) (size int64, marker bool, err error) {
	if value, err = unseal(row, value); err != nil {
		return 0, false, err
	}
	d := decoder{b: value}
	format, flags := d.byte(), d.byte()
	_, _, _ = d.uint64(), d.uvarint(), d.varint()
	if marker = flags&flagMarker != 0; !marker {
		size = d.size()
	}
	if d.bad || format != recordFormat {
		return 0, false, corrupt("a row is not of its form")
	}
	return size, marker, nil
}

// info is what the record says of an object. Parts are left to the caller.
func (r *record) info(key string, latest bool) store.Info {
	i := store.Info{Key: key, Version: r.formatVersion(), Latest: latest, DeleteMarker: r.marker,
		Modified: time.Unix(0, r.modified).UTC()}
	if !r.marker {
		i.Size, i.ETag, i.Attributes = r.size, r.etag(), r.attributes
	}
	return i
}

func (r *record) etag() string {
	e := hex.EncodeToString(r.sum[:])
	if r.parts > 0 {
		e += "-" + strconv.Itoa(int(r.parts))
	}
	return e
}

func (l location) append(b []byte) []byte {
	if b = append(b, l.kind); l.kind != bodyNone {
		b = binary.BigEndian.AppendUint64(b, l.id)
	}
	return b
}

// The attributes that are one string, in the order of their numbers in a row,
// which begin with 1. 0 ends the attributes.
func fieldsOf(a *attributes) []*string {
	return []*string{&a.ContentType, &a.ContentEncoding, &a.ContentLanguage, &a.ContentDisposition, &a.CacheControl,
		&a.Expires, &a.StorageClass, &a.Redirect, &a.Checksum.Algorithm, &a.Checksum.Type, &a.Checksum.Value}
}

const (
	fieldUser      = 100 // a name and a value
	fieldTag       = 101 // a key and a value
	fieldRetention = 102 // a mode, and until when in milliseconds since 1970
	fieldHold      = 103 // whether there is a legal hold
)

func appendAttributes(b []byte, a *attributes) []byte {
	for i, s := range fieldsOf(a) {
		if *s != "" {
			b = appendString(append(b, byte(i+1)), *s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.User)) {
		b = appendString(appendString(append(b, fieldUser), name), a.User[name])
	}
	for _, t := range a.Tags {
		b = appendString(appendString(append(b, fieldTag), t.Key), t.Value)
	}
	if a.LockMode != "" || !a.RetainUntil.IsZero() {
		b = appendString(append(b, fieldRetention), a.LockMode)
		b = binary.AppendVarint(b, a.RetainUntil.UnixMilli())
	}
	if a.LegalHold != "" {
		b = appendString(append(b, fieldHold), a.LegalHold)
	}
	return append(b, 0)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A decoder takes values off the beginning of b. After a mistake it gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return corrupt("a row is not of its form")
	}
	return nil
}

func (d *decoder) bytes(n int) []byte {
	if d.bad = d.bad || n < 0 || n > len(d.b); d.bad {
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad = d.bad || n <= 0; d.bad {
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.bad = d.bad || n <= 0; d.bad {
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) size() int64 {
	v := d.uvarint()
	if d.bad = d.bad || v > 1<<62; d.bad {
		return 0
	}
	return int64(v)
}

// text is the bytes of a string.
func (d *decoder) text() []byte {
	n := d.uvarint()
	if d.bad = d.bad || n > uint64(len(d.b)); d.bad {
		return nil
	}
	return d.bytes(int(n))
}

func (d *decoder) string() string { return string(d.text()) }

// word is string for one that is mostly one of a few, which it does not allocate.
func (d *decoder) word() string {
	switch b := d.text(); string(b) {
	case "CRC64NVME":
		return "CRC64NVME"
	case "FULL_OBJECT":
		return "FULL_OBJECT"
	case "application/octet-stream":
		return "application/octet-stream"
	case "binary/octet-stream":
		return "binary/octet-stream"
	default:
		return string(b)
	}
}

func (d *decoder) location() location {
	l := location{kind: d.byte()}
	switch {
	case l.kind > bodyManifest:
		d.bad = true
	case l.kind != bodyNone:
		l.id = d.uint64()
	}
	return l
}

func (d *decoder) attributes(a *attributes, brief bool) {
	fields := fieldsOf(a)
	for !d.bad {
		switch n := d.byte(); {
		case n == 0:
			return
		case int(n) <= len(fields):
			if f := fields[n-1]; brief && f != &a.ContentType && f != &a.StorageClass && n < 9 {
				d.text()
			} else {
				*f = d.word()
			}
		case brief && (n == fieldUser || n == fieldTag):
			d.text()
			d.text()
		case n == fieldUser:
			if a.User == nil {
				a.User = map[string]string{}
			}
			name := d.string()
			a.User[name] = d.string()
		case n == fieldTag:
			key := d.string()
			a.Tags = append(a.Tags, store.Tag{Key: key, Value: d.string()})
		case n == fieldRetention:
			a.LockMode = d.string()
			a.RetainUntil = time.UnixMilli(d.varint()).UTC()
		case n == fieldHold:
			a.LegalHold = d.string()
		default:
			d.bad = true
		}
	}
}

// clone copies attributes, so that neither the caller nor the store changes the
// other's.
func clone(a attributes) attributes {
	a.User, a.Tags = maps.Clone(a.User), slices.Clone(a.Tags)
	return a
}
