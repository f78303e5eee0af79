package disk

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/storetest"
)

// Where Pebble fails to open, it leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2.(*ConcurrencyLimitScheduler).periodicGranter"))
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]Options{
		"on a file system in memory": {FS: vfs.NewMem()},
		"every body in a file":       {FS: lazyFS{vfs.Default}, InlineThreshold: -1},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() store.Store {
				dir := t.TempDir()
				return func() store.Store {
					s, err := Open(dir, o)
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
			})
		})
	}
}
