package s3

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/storetest"
)

// exceptions are the tests of the suite that no driver over S3 can pass, or none
// over our door. What of each can hold is held by a test of this package.
var exceptions = map[string]string{
	"a bucket comes back as it was made":           "a document is S3's own and not any bytes: TestAgainstTheDoorSettings",
	"an update of a bucket is one step":            "likewise: TestAgainstTheDoorUpdatesTakeTurns",
	"buckets are there after a restart":            "likewise: TestAgainstTheDoorSettings",
	"a key is a name and nothing else":             `the door refuses keys such as "..", as S3 does: TestAgainstTheDoorAnObjectComesBack`,
	"everything is there after a restart":          "likewise; what is kept is the service's",
	"attributes over the limit are refused":        "S3's limits for attributes are lower: TestAPutIsRepeated",
	"of many who complete one upload one succeeds": "S3 answers a completion that is repeated as it answered the first: TestAgainstTheDoorParts",
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute of requests; without -short")
	}
	storetest.Run(t, func(t *testing.T) func() store.Store {
		dir := t.TempDir()
		known := &knowing{attributes: map[string]store.Attributes{}, parts: map[string]store.Part{}, modified: map[string]time.Time{}}
		var shut func()
		t.Cleanup(func() {
			if shut != nil {
				shut()
			}
		})
		return func() store.Store {
			if shut != nil {
				shut()
			}
			known.Store, shut = openDoor(t, dir)
			return known
		}
	}, exceptions)
}

// A knowing store adds what the driver's documentation says that it cannot know,
// by asking or from memory, and leaves out the checksum that our door gives every
// object. All else that the suite wants is the driver's.
type knowing struct {
	*Store
	mu         sync.Mutex
	attributes map[string]store.Attributes // by upload
	parts      map[string]store.Part       // by ETag and place
	modified   map[string]time.Time        // by key and ETag, of objects that were copied onto themselves
}

// plain leaves the door's own checksum out and completes the parts.
func (k *knowing) plain(i store.Info) store.Info {
	if i.Checksum.Algorithm == "CRC64NVME" {
		i.Checksum = store.Checksum{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if t, ok := k.modified[i.Key+i.ETag]; ok {
		i.Modified = t
	}
	if i.Parts = slices.Clone(i.Parts); i.ETag != "" {
		for n := range i.Parts {
			if part, ok := k.parts[i.ETag+string(rune(n))]; ok {
				i.Parts[n] = part
			}
		}
	}
	return i
}

func (k *knowing) Head(ctx context.Context, bucket, key, version string) (store.Info, error) {
	i, err := k.Store.Head(ctx, bucket, key, version)
	return k.plain(i), err
}

func (k *knowing) Get(ctx context.Context, bucket, key, version string) (*store.Object, error) {
	o, err := k.Store.Get(ctx, bucket, key, version)
	if o != nil {
		o.Info = k.plain(o.Info)
	}
	return o, err
}

func (k *knowing) Update(ctx context.Context, bucket, key, version string, change func(*store.Attributes) error) (store.Info, error) {
	before, _ := k.Head(ctx, bucket, key, version)
	i, err := k.Store.Update(ctx, bucket, key, version, change)
	if err == nil && !i.Modified.Equal(before.Modified) {
		k.mu.Lock()
		k.modified[key+i.ETag] = before.Modified
		k.mu.Unlock()
	}
	return k.plain(i), err
}

func (k *knowing) Stage(ctx context.Context, body io.Reader, size int64) (store.Upload, error) {
	u, err := k.Store.Stage(ctx, body, size)
	if err != nil {
		return nil, err
	}
	return knowingUpload{u, k}, nil
}

type knowingUpload struct {
	store.Upload
	k *knowing
}

func (u knowingUpload) Commit(ctx context.Context, bucket, key string, a store.Attributes, c store.Condition) (store.Info, bool, error) {
	i, created, err := u.Upload.Commit(ctx, bucket, key, a, c)
	return u.k.plain(i), created, err
}

// List asks for the version of each object.
func (k *knowing) List(ctx context.Context, bucket string, q store.Query) (store.Page, error) {
	p, err := k.Store.List(ctx, bucket, q)
	for n := range p.Objects {
		if o := &p.Objects[n]; o.Version == "" {
			head, _, err := k.head(ctx, bucket, o.Key, "")
			if err != nil {
				return p, err
			}
			o.Version = head.Version
		}
	}
	return p, err
}

func (k *knowing) CreateMultipart(ctx context.Context, bucket string, m store.Multipart) (string, error) {
	id, err := k.Store.CreateMultipart(ctx, bucket, m)
	k.mu.Lock()
	defer k.mu.Unlock()
	m.Attributes.User, m.Attributes.Tags = maps.Clone(m.Attributes.User), slices.Clone(m.Attributes.Tags)
	k.attributes[id] = m.Attributes
	return id, err
}

func (k *knowing) GetMultipart(ctx context.Context, bucket, key, id string) (store.Multipart, error) {
	m, err := k.Store.GetMultipart(ctx, bucket, key, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		m.Attributes = k.attributes[id]
	}
	return m, err
}

func (k *knowing) CompleteMultipart(ctx context.Context, bucket, key, id string, parts []store.PartID, a store.Attributes, c store.Condition) (store.Info, error) {
	i, err := k.Store.CompleteMultipart(ctx, bucket, key, id, parts, a, c)
	k.mu.Lock()
	for n, p := range i.Parts {
		k.parts[i.ETag+string(rune(n))] = p
	}
	k.mu.Unlock()
	return k.plain(i), err
}
