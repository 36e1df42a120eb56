//! Layout of directories and buckets: create-once objects, resume, retries. Judges no result.
