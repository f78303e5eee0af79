package disk

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"

	"minicloud.internal/objectstorage/store"
)

// The rows of the database, with | for concatenation. Numbers are big-endian: a
// bucket has 4 bytes, everything else 8, a part 2. What a number counts down to
// ~seq sorts the newest first.
//
//	'a' | name                     -> a bucket
//	'c' | bucket | key             -> the latest version of a key
//	'n' | bucket | esc(key) | ~seq -> each older version
//	'u' | bucket | esc(key) | id   -> an unfinished upload in parts
//	'p' | id | number              -> a part of one
//	'b' | id                       -> a body that is kept here, behind its CRC-32C
//	's' | id                       -> the CRC-32C of each block of a body in a file
//	'q' | id                       -> the parts of an object that was completed of parts
//	'g' | id                       -> a body that nothing refers to any more
//	'm' | name                     -> a number of the store's own
//
// In the rows of latest versions the key stands as it is, at the end, so that a
// listing reads them in order and takes the key out without a copy. Elsewhere
// something follows it, and it is escaped.
const (
	rowBucket   = 'a'
	rowLatest   = 'c'
	rowOlder    = 'n'
	rowUpload   = 'u'
	rowPart     = 'p'
	rowBody     = 'b'
	rowSums     = 's'
	rowManifest = 'q'
	rowGarbage  = 'g'
	rowMeta     = 'm'
)

const bucketPrefix = 5 // bytes: the kind of a row, and a bucket

func bucketRow(name string) []byte { return append([]byte{rowBucket}, name...) }

func metaRow(name string) []byte { return append([]byte{rowMeta}, name...) }

// bucketRows is what the rows of a kind and a bucket begin with, with room for more.
func bucketRows(kind byte, bucket uint32, room int) []byte {
	b := make([]byte, 0, bucketPrefix+room)
	return binary.BigEndian.AppendUint32(append(b, kind), bucket)
}

func latestRow(bucket uint32, key string) []byte {
	return append(bucketRows(rowLatest, bucket, len(key)), key...)
}

// olderRows is what the rows of all older versions of a key begin with.
func olderRows(bucket uint32, key string) []byte {
	return escape(bucketRows(rowOlder, bucket, len(key)+10), key, true)
}

func olderRow(bucket uint32, key string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(olderRows(bucket, key), ^seq)
}

func uploadRow(bucket uint32, key string, id uint64) []byte {
	return binary.BigEndian.AppendUint64(escape(bucketRows(rowUpload, bucket, len(key)+10), key, true), id)
}

func partRow(id uint64, number int) []byte {
	return binary.BigEndian.AppendUint16(idRow(rowPart, id), uint16(number))
}

func idRow(kind byte, id uint64) []byte { return appendID(make([]byte, 0, 11), kind, id) }

func appendID(dst []byte, kind byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), id)
}

// after returns the first key behind all that begin with prefix, which is neither
// empty nor all of 0xff.
func after(prefix []byte) []byte {
	b := bytes.Clone(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	return b
}

// escape appends key so that something may follow and keys still sort as they
// do: NUL becomes 00 ff, and the end 00 01.
func escape(b []byte, key string, end bool) []byte {
	for i := range len(key) {
		if b = append(b, key[i]); key[i] == 0 {
			b = append(b, 0xff)
		}
	}
	if end {
		b = append(b, 0, 1)
	}
	return b
}

// unescape takes a key off the beginning of b.
func unescape(b []byte) (key string, rest []byte, ok bool) {
	var k []byte
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || i+1 >= len(b) {
			return "", nil, false
		}
		k = append(k, b[:i]...)
		switch b[i+1] {
		case 0xff:
			k, b = append(k, 0), b[i+2:]
		case 1:
			return string(k), b[i+2:], true
		default:
			return "", nil, false
		}
	}
}

// splitID takes apart a row of a bucket that ends with an escaped key and 8 bytes.
func splitID(row []byte) (key string, id uint64, ok bool) {
	if len(row) < bucketPrefix {
		return "", 0, false
	}
	key, rest, ok := unescape(row[bucketPrefix:])
	if !ok || len(rest) != 8 {
		return "", 0, false
	}
	return key, binary.BigEndian.Uint64(rest), true
}

// idDigits keep the order of the numbers that they write.
var idDigits = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// formatID writes a number as clients see it: 13 digits that sort by time.
func formatID(id uint64) string {
	return idDigits.EncodeToString(binary.BigEndian.AppendUint64(nil, id))
}

// parseID accepts what formatID makes, and nothing else.
func parseID(s string) (uint64, bool) {
	if len(s) != 13 {
		return 0, false
	}
	b, err := idDigits.DecodeString(s)
	if err != nil || len(b) != 8 {
		return 0, false
	}
	id := binary.BigEndian.Uint64(b)
	return id, id != 0 && formatID(id) == s
}

// formatVersion is the version of a record as clients see it.
func (r *record) formatVersion() string {
	if r.null {
		return store.Null
	}
	return formatID(r.seq)
}
