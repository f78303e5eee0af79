package s3api

import (
	"encoding/xml"
	"net/http"

	"golang.org/x/sync/errgroup"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

const (
	// maxDeletes is how many keys one DeleteObjects may name.
	maxDeletes = 1000
	// parallelDeletes are under way at a time. Each waits for the disk, and the
	// store makes those that wait together durable together.
	parallelDeletes = 32
)

type deleteXML struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool
	Object  []deleteItem
}

type deleteItem struct {
	Key              string
	VersionId        string
	ETag             string
	LastModifiedTime string
	Size             *int64
}

type deleteResult struct {
	XMLName xml.Name
	Deleted []deletedItem
	Error   []deleteError
}

type deletedItem struct {
	Key                   string
	VersionId             string `xml:",omitempty"`
	DeleteMarker          *bool  `xml:",omitempty"`
	DeleteMarkerVersionId string `xml:",omitempty"`
}

type deleteError struct {
	Key       string
	VersionId string `xml:",omitempty"`
	Code      string
	Message   string
}

// deleteObjects deletes up to 1,000 keys or versions, each by itself: one that
// fails keeps none of the others.
func (r *request) deleteObjects() error {
	declared, err := checksum.Parse(r.Header)
	if err != nil {
		return checksumError(err)
	}
	if declared.Algorithm == "" && r.Header.Get("Content-Md5") == "" {
		return fail("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	var document deleteXML
	if err := r.readXML(&document); err != nil {
		return err
	}
	if len(document.Object) > maxDeletes {
		return fail("MalformedXML")
	}
	if err := r.keepPolicy(); err != nil {
		return err
	}
	outcomes := make([]deleteOutcome, len(document.Object))
	var group errgroup.Group
	group.SetLimit(parallelDeletes)
	for i := range document.Object {
		group.Go(func() error {
			outcomes[i] = r.deleteItem(&document.Object[i])
			return nil
		})
	}
	_ = group.Wait() // each error is in its outcome
	if err := r.Context().Err(); err != nil {
		return err
	}
	answer := deleteResult{XMLName: root("DeleteResult")}
	for _, o := range outcomes {
		switch {
		case o.failed != nil:
			answer.Error = append(answer.Error, *o.failed)
		case !document.Quiet:
			answer.Deleted = append(answer.Deleted, o.deleted)
		}
	}
	return r.writeXML(http.StatusOK, answer)
}

// A deleteOutcome is what became of one key.
type deleteOutcome struct {
	deleted deletedItem
	failed  *deleteError
}

func (r *request) deleteItem(item *deleteItem) deleteOutcome {
	deleted, err := r.deleteOne(item)
	if err != nil {
		e, ours := r.toAPI(err)
		if ours {
			r.h.Logger.Error("a key of a DeleteObjects was not deleted", "bucket", r.bucket, "request", r.id, "error", err)
		}
		return deleteOutcome{failed: &deleteError{item.Key, item.VersionId, e.Code, e.Message}}
	}
	o := deletedItem{Key: item.Key, VersionId: item.VersionId}
	if r.versioned() {
		o.DeleteMarker = &deleted.DeleteMarker
	}
	if deleted.DeleteMarker {
		o.DeleteMarkerVersionId = deleted.Version
	}
	return deleteOutcome{deleted: o}
}

func (r *request) deleteOne(item *deleteItem) (store.Deleted, error) {
	action := "s3:DeleteObject"
	if item.VersionId != "" {
		action = "s3:DeleteObjectVersion"
	}
	if err := r.permit(action, item.Key); err != nil {
		return store.Deleted{}, err
	}
	c := store.Condition{Match: etagList(item.ETag)}
	if item.Size != nil {
		c.HasSize, c.Size = true, *item.Size
	}
	if item.LastModifiedTime != "" {
		t, err := parseTime(item.LastModifiedTime)
		if err != nil {
			return store.Deleted{}, invalidArgument("LastModifiedTime", item.LastModifiedTime, "The time is not valid.")
		}
		c.Modified = t
	}
	return r.remove(item.Key, item.VersionId, c)
}
