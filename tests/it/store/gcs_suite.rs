//! The GCS test server is qualified by object_store's own integration suite: an oracle we did not write.

use llm_bench::crypto;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::integration as suite;
use object_store::{ClientConfigKey, ObjectStore};

use crate::support::gcs::GcsServer;

async fn client() -> (GcsServer, GoogleCloudStorage) {
    crypto::install();
    let server = GcsServer::start().await;
    let client = GoogleCloudStorageBuilder::new()
        .with_bucket_name("bucket")
        .with_base_url(&server.url())
        .with_config(GoogleConfigKey::BearerToken, "t")
        .with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), "true")
        .build()
        .unwrap();
    (server, client)
}

macro_rules! suite {
    ($($name:ident($($argument:expr),*);)*) => {$(
        #[tokio::test]
        async fn $name() {
            let (_server, client) = client().await;
            suite::$name(&client $(, $argument(&client))*).await;
        }
    )*};
}

fn itself(store: &GoogleCloudStorage) -> &GoogleCloudStorage {
    store
}

fn yes(_: &GoogleCloudStorage) -> bool {
    true
}

suite! {
    put_get_delete_list();
    list_with_offset_exclusivity();
    list_uses_directories_correctly();
    list_with_delimiter();
    rename_and_copy();
    copy_if_not_exists();
    copy_rename_nonexistent_object();
    stream_get();
    multipart(itself);
    multipart_with_opts(itself);
    multipart_put_part_out_of_order(itself);
    multipart_race_condition(yes);
    multipart_out_of_order();
    list_paginated(itself);
    get_opts();
    put_opts(yes);
    put_get_attributes();
}

#[tokio::test]
async fn get_nonexistent_object() {
    let (_server, client) = client().await;
    let store: &dyn ObjectStore = &client;
    let error = suite::get_nonexistent_object(store, None).await.unwrap_err();
    assert!(error.to_string().contains("not found") || format!("{error:?}").contains("NotFound"), "{error:?}");
}
