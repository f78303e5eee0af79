package s3

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"minicloud.internal/objectstorage/store"
)

const (
	// objectLock is the document of a bucket whose versions can be locked. It can
	// be replaced, and never removed.
	objectLock = "object-lock"

	lockMode  = "X-Amz-Object-Lock-Mode"
	lockUntil = "X-Amz-Object-Lock-Retain-Until-Date"
	lockHold  = "X-Amz-Object-Lock-Legal-Hold"

	milliseconds = "2006-01-02T15:04:05.000Z"
)

// setLocks adds the locks that a writes wants to the header of its request.
func setLocks(h http.Header, a *store.Attributes) {
	if a.LockMode != "" {
		h.Set(lockMode, a.LockMode)
		h.Set(lockUntil, a.RetainUntil.UTC().Format(milliseconds))
	}
	if a.LegalHold != "" {
		h.Set(lockHold, a.LegalHold)
	}
}

// readLocks reads the locks of an answer. A retention whose end cannot be read is an
// error: to take it for none could let somebody remove what is kept.
func readLocks(h http.Header, a *store.Attributes) error {
	a.LockMode, a.LegalHold = h.Get(lockMode), h.Get(lockHold)
	if a.LockMode == "" {
		return nil
	}
	until, err := time.Parse(time.RFC3339, h.Get(lockUntil))
	if err != nil {
		return fmt.Errorf("read until when the version is retained: %w", err)
	}
	a.RetainUntil = until.UTC().Truncate(time.Millisecond)
	return nil
}

// updateLocks sends the locks in which after differs from before.
func (s *Store) updateLocks(ctx context.Context, bucket, key, version string, before, after *store.Attributes) error {
	if before.LockMode != after.LockMode || !before.RetainUntil.Equal(after.RetainUntil) {
		in := &s3.PutObjectRetentionInput{Bucket: &bucket, Key: &key, VersionId: optional(version), Retention: &types.ObjectLockRetention{}}
		if after.LockMode != "" {
			in.Retention.Mode, in.Retention.RetainUntilDate = types.ObjectLockRetentionMode(after.LockMode), &after.RetainUntil
		}
		// Whether a retention may be made less is the caller's decision, and has
		// been made; the service wants to be told.
		if less := after.LockMode != before.LockMode || after.RetainUntil.Before(before.RetainUntil); less && before.LockMode == store.Governance {
			in.BypassGovernanceRetention = aws.Bool(true)
		}
		if _, err := s.client.PutObjectRetention(ctx, in); err != nil {
			return fmt.Errorf("set the retention: %w", err)
		}
	}
	if before.LegalHold != after.LegalHold {
		in := &s3.PutObjectLegalHoldInput{Bucket: &bucket, Key: &key, VersionId: optional(version),
			LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatus(after.LegalHold)}}
		if after.LegalHold == "" {
			in.LegalHold.Status = types.ObjectLockLegalHoldStatusOff // there is no way back to nothing
		}
		if _, err := s.client.PutObjectLegalHold(ctx, in); err != nil {
			return fmt.Errorf("set the legal hold: %w", err)
		}
	}
	return nil
}

// locked looks whether a version that could not be deleted is locked. Its lock may
// be younger than the look at it before.
func (s *Store) locked(ctx context.Context, bucket, key, version string, bypass bool) bool {
	info, _, err := s.head(ctx, bucket, key, version)
	return err == nil && info.Locked(time.Now(), bypass)
}
