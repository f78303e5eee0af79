package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"minicloud.internal/objectstorage/store"
)

// A file begins with a header of headerSize bytes; the body follows.
//
//	 0  8 bytes  magic "mcobject"
//	 8  uint32   version, 1
//	12  uint32   length n of the fields
//	16  uint32   CRC-32C of bytes 0 to 15 and of the fields
//	20  n bytes  the fields: size of the body (uvarint), time of the commit in
//	             nanoseconds since 1970 (varint), then as strings (length as
//	             uvarint, bytes): key, ETag, Content-Type, -Encoding,
//	             -Language, -Disposition, Cache-Control
//	     zeros   up to headerSize
//
// Integers are little-endian. The header has a fixed size, one page, because
// it is written when the body has come to its end, in front of it.
const (
	headerSize  = 4096
	magic       = "mcobject"
	version     = 1
	fieldsStart = 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stringFields returns the fields of i that are strings, in the order of the file.
func stringFields(i *store.Info) []*string {
	return []*string{&i.Key, &i.ETag, &i.ContentType, &i.ContentEncoding,
		&i.ContentLanguage, &i.ContentDisposition, &i.CacheControl}
}

// encodeHeader returns the header of an object, headerSize bytes. Key and
// metadata within the store's limits always fit.
func encodeHeader(i store.Info) ([]byte, error) {
	fields := binary.AppendUvarint(nil, uint64(i.Size))
	fields = binary.AppendVarint(fields, i.Modified.UnixNano())
	for _, s := range stringFields(&i) {
		fields = binary.AppendUvarint(fields, uint64(len(*s)))
		fields = append(fields, *s...)
	}
	if len(fields) > headerSize-fieldsStart {
		return nil, store.ErrMeta
	}
	h := make([]byte, headerSize)
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[8:], version)
	binary.LittleEndian.PutUint32(h[12:], uint32(len(fields)))
	copy(h[fieldsStart:], fields)
	binary.LittleEndian.PutUint32(h[16:], checksum(h, fields))
	return h, nil
}

func checksum(h, fields []byte) uint32 {
	return crc32.Update(crc32.Checksum(h[:16], castagnoli), castagnoli, fields)
}

// decodeHeader reads what encodeHeader wrote. Anything else is
// [store.ErrCorrupt] with the reason.
func decodeHeader(h []byte) (store.Info, error) {
	if len(h) != headerSize || string(h[:8]) != magic {
		return store.Info{}, corrupt("the file has no header")
	}
	if v := binary.LittleEndian.Uint32(h[8:]); v != version {
		return store.Info{}, corrupt("its header has version %d, expected %d", v, version)
	}
	n := binary.LittleEndian.Uint32(h[12:])
	if n > headerSize-fieldsStart {
		return store.Info{}, corrupt("its header is longer than it can be")
	}
	fields := h[fieldsStart : fieldsStart+n]
	if checksum(h, fields) != binary.LittleEndian.Uint32(h[16:]) {
		return store.Info{}, corrupt("the checksum of its header is wrong")
	}
	var i store.Info
	size, k := binary.Uvarint(fields)
	if k <= 0 || int64(size) < 0 {
		return store.Info{}, corrupt("its header has no size")
	}
	fields = fields[k:]
	nanos, k := binary.Varint(fields)
	if k <= 0 {
		return store.Info{}, corrupt("its header has no time")
	}
	fields = fields[k:]
	i.Size, i.Modified = int64(size), time.Unix(0, nanos).UTC()
	for _, s := range stringFields(&i) {
		n, k := binary.Uvarint(fields)
		if k <= 0 || n > uint64(len(fields)-k) {
			return store.Info{}, corrupt("its header ends in the middle of a field")
		}
		*s = string(fields[k : k+int(n)])
		fields = fields[k+int(n):]
	}
	if len(fields) > 0 {
		return store.Info{}, corrupt("its header has more fields than it should")
	}
	if err := store.CheckKey(i.Key); err != nil {
		return store.Info{}, corrupt("in its header %v", err)
	}
	return i, nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", store.ErrCorrupt, fmt.Sprintf(format, args...))
}
