package s3api

import (
	"net/http"

	"minicloud.internal/objectstorage/store"
)

// deleteObject removes a version, or what the bucket's versioning makes of a
// deletion without one. An absent key is no error.
func (r *request) deleteObject() error {
	version, err := r.version()
	if err != nil {
		return err
	}
	condition, err := r.deleteCondition()
	if err != nil {
		return err
	}
	if version != "" {
		if err := r.permit("s3:DeleteObjectVersion", r.key); err != nil {
			return err
		}
	}
	deleted, err := r.remove(r.key, version, condition)
	if err != nil {
		return err
	}
	h := r.w.Header()
	switch {
	case version != "":
		h.Set("X-Amz-Version-Id", version)
	case r.versioned() && deleted.Version != "":
		h.Set("X-Amz-Version-Id", deleted.Version)
	}
	if deleted.DeleteMarker {
		h.Set("X-Amz-Delete-Marker", "true")
	}
	r.w.WriteHeader(http.StatusNoContent)
	return nil
}

// remove deletes one key or version of the request's bucket.
func (r *request) remove(key, version string, c store.Condition) (store.Deleted, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Deleted{}, fromKey(err.(*store.KeyError), key)
	}
	c.Bypass = r.bypass(key)
	deleted, err := r.h.store.Delete(r.Context(), r.bucket, key, version, c)
	if err != nil {
		return deleted, versionError(version, err)
	}
	if version != "" && deleted.Version == "" && !plausibleVersion(version) {
		return deleted, invalidVersion(version)
	}
	return deleted, nil
}
