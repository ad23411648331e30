//! Why the store did not do what was asked. A sentence begins small, as it may be a part of a longer one.

/// What failed on which object: `action key place`.
macro_rules! on {
    ($why:literal) => {
        concat!("cannot {action} {key} in {place}: ", $why)
    };
}

/// What is wrong with a store's URL.
macro_rules! url {
    ($why:literal) => {
        concat!($why, "; a store is file:PATH or s3://bucket?region=REGION&endpoint=URL&device_endpoint=URL&path_style=true")
    };
}

/// What is wrong with a variable of a container.
macro_rules! container {
    ($why:literal) => {
        concat!("AWS_CONTAINER_CREDENTIALS_", $why, "; it is set by the platform that runs the container")
    };
}

crate::entry::table! {
    STORAGE_FAILED "storage_failed" on!("{said}");
    DISK_FULL "disk_full" on!("the disk is full; make room and run this again");
    ACCESS_DENIED "access_denied" on!("permission denied; give the user that runs this access to {place}");
    READ_ONLY "read_only" on!("the file system is mounted read-only");
    NO_SUCH_BUCKET "no_such_bucket" on!("there is no such bucket; create it, or correct its name or region in the store's URL");
    CREDENTIALS_REFUSED "credentials_refused" on!("S3 does not accept the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN");
    SIGNATURE_REFUSED "signature_refused" on!("S3 does not accept the signature; AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or a proxy changes the host, the path or the headers of requests on their way");
    SESSION_EXPIRED "session_expired" on!("the session token has expired; get new credentials");
    CLOCK_WRONG "clock_wrong" on!("this machine's clock is wrong; set it (S3 tolerates 15 minutes)");
    OTHER_REGION "other_region" on!("the bucket is in another region; [put ?region={region} into the store's URL][give the right one as ?region= in the store's URL{unknown?}]");
    KEY_UNUSABLE "kms_key_unusable" on!("the KMS key that it is encrypted with cannot be used ({code}); enable that key again, or let the bucket encrypt with another one and write the object anew");
    KEY_DENIED "kms_key_denied" on!("permission denied by the bucket's KMS key; allow kms:Decrypt on it to read, and kms:GenerateDataKey to write");
    PERMISSION_DENIED "permission_denied" on!("permission denied; the policy has to allow {permission} there[ (and {besides} on the bucket, without which S3 answers like this for a key that does not exist)]");
    REQUESTER_PAYS "requester_pays" on!("whoever asks this bucket pays (Requester Pays), and has to say so; set AWS_REQUEST_PAYER=requester, which goes into the devices' URLs too");
    ARCHIVED "object_archived" on!("it is archived[ ({class})], and nobody can fetch it; restore it (aws s3api restore-object), copy it back to STANDARD, and let the lifecycle rule or Intelligent-Tiering archive nothing there");
    ACCOUNT_CLOSED "account_closed" on!("the account or the bucket is closed ({code}); ask its owner, or the provider");
    METHOD_REFUSED "method_refused" on!("what answers there does not do this at all (method not allowed); endpoint= has to be the address of the S3 API, not of a web console, a website or a proxy that only reads");
    UPLOAD_TOO_LONG "upload_too_long" on!("the upload is too long for the store or for a proxy before it; let it take 16 MiB (nginx: client_max_body_size)");
    STORE_FULL "store_full" on!("the store is full, or a quota is; make room and run this again");
    CHANGED_ON_THE_WAY "changed_on_the_way" on!("what arrived is not what was sent ({code}); a proxy in between changes bodies, or the line is bad; run this again");
    CHECKSUM_WANTED "checksum_wanted" on!("the bucket takes only writes with a checksum, as one with Object Lock does, and does not count Content-MD5, which it got; a proxy in between may remove that header");
    STORE_FAILED "store_failed" on!("the store failed inside; try again, and look into its log");
    PAGE_INSTEAD "page_instead_of_store" on!("a web page answers there[ ({status})][, \"{title}\"], and no S3 store: a proxy, a firewall or a login page stands between; check endpoint=, HTTP_PROXY and NO_PROXY");
    HEADER_MISSING "header_missing" on!("the answer has no {name}, which S3 always gives; a proxy in between removes it, so let it pass");
    BUSY "store_busy" on!("the store is asked too much at the moment; try again");
    SILENT "store_silent" on!("the store does not answer; check its endpoint and the network");
    CERTIFICATE "certificate_not_trusted" on!("the store answers, but its certificate is not trusted ({said}); for a company's own authority set SSL_CERT_FILE to a file of certificates (PEM) that has it, else check the host in endpoint= and this machine's clock");
    WITHOUT_TLS "store_without_tls" on!("the store answers without TLS; write http:// in endpoint=, or give the port that speaks https");
    WITH_TLS "store_with_tls" on!("what answers there does not speak plain HTTP, but https perhaps; write https:// in endpoint=");
    TOKEN_FILE "token_file_unreadable" on!("the file of the web identity or container token cannot be read; check AWS_WEB_IDENTITY_TOKEN_FILE or AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    ROLE_REFUSED "role_refused" on!("AWS's security token service gives no credentials for the role[ ({code})]; check AWS_ROLE_ARN, and that the role's trust policy names who runs here");
    AGENT_FAILED "container_agent_failed" on!("the container's agent gives no credentials; check AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or …_FULL_URI, and that the task or pod has a role");
    NO_CREDENTIALS "no_credentials" on!("no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them");

    BUCKET_UNUSABLE "bucket_unusable" "the bucket {bucket} cannot be used: {why}";
    HALF_OF_THE_CREDENTIALS "half_of_the_credentials" "half of the AWS credentials is missing; set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    METADATA_SERVICE "metadata_service_unusable" "the instance metadata service cannot be asked: {why}";
    AGENT_UNUSABLE "container_agent_unusable" "the container's credentials cannot be asked for over HTTP: {why}";
    RELATIVE_URI "relative_uri_malformed" container!("RELATIVE_URI is not a path that begins with /");
    FULL_URI "full_uri_malformed" container!("FULL_URI is not a URL of http or https");
    FULL_URI_IN_CLEAR "full_uri_in_clear" container!("FULL_URI names {host} over http, where others can read the credentials on their way; http is for localhost, {hosts} only, any other host needs https");
    URL_MALFORMED "store_url_malformed" url!("the store's URL is malformed: {why}");
    URL_OF_NO_STORE "store_url_of_no_store" url!("{url} is not a store");
    URL_OF_ANOTHER_MACHINE "store_url_of_another_machine" url!("{url} names no folder of this machine");
    URL_WITHOUT_FOLDER "store_url_without_folder" url!("the store's folder has no name");
    URL_WITH_CREDENTIALS "store_url_with_credentials" url!("credentials do not belong into the store's URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    URL_WITHOUT_BUCKET "store_url_without_bucket" url!("the store's URL names no bucket");
    URL_WITH_PATH "store_url_with_path" url!("{path} has a path after the bucket, but products lie at its top");
    URL_ENDPOINT "store_url_endpoint" url!("endpoint {endpoint} is not an http or https URL[: {why}]");
    URL_PATH_STYLE "store_url_path_style" url!("path_style is true or false");
    URL_PARAMETER "store_url_parameter" url!("the store's URL has an unknown or empty parameter {name}");
    ENDPOINT_VARIABLE "endpoint_variable" "{name} is not an http or https URL";

    NO_CONDITIONS "no_conditional_writes" "{place} does not keep conditional writes (If-None-Match, If-Match), so only one program may write to it: let that be one server, and publish, promote and block through it";
    CONDITION_REFUSED "true_condition_refused" "{place} refuses writes whose condition is true (If-Match with the ETag that it gave itself, If-None-Match where nothing is), so only one program may write to it: let that be one server, and publish, promote and block through it";
    FOLDER_GONE "folder_gone" "{place} is gone; put it back, or correct the store's URL";
    KEY_MALFORMED "key_malformed" "{key} is not a key of the store: {why}";
    LOCKED "folder_locked" "another program has been writing to {place} for {seconds} seconds; wait for it or end it, then run this again";
    WRITTEN_BY_ANOTHER "written_by_another" "{key} is being written by another program; run this again later";
    GREW "grew_while_read" "{key} grew beyond {limit} bytes while it was read";
    REPLACED "replaced_while_read" "{key} was replaced while it was read";
    ENDED "ended_while_writing" "the program was ended while it wrote to the store; run the same command again";
    BROKE_OFF "judging_broke_off" "judging the image broke off; run this again";
    TOO_SLOW "store_too_slow" "the store did not tell what it holds of {product} within {minutes} minutes";

    LIFETIME "signed_url_lifetime" "a signed URL lives {shortest} to {longest} seconds, not {lifetime}";
    CANNOT_SIGN "cannot_sign" "a folder store signs URLs only in a server that has a public_url and a signing key";
    PUBLIC_URL "public_url_without_path" "public_url cannot carry a path: {why}";
    NO_SUCH_KEY "no_such_key" "there is no {key}";
    NOT_AN_IMAGES_KEY "not_an_images_key" "{key} is not the image of a release or of a channel";

    NO_IMAGE "no_image_beside_version" "{key} names a version, but there is no firmware.bin beside it; publish or promote it again";
    IMAGE_TOO_LONG "stored_image_too_long" "{key} has {size} bytes; no ESP32 takes more than 16 MiB";
    VERSION_TXT_SAYS_ANOTHER "version_txt_says_another" "{key} says {says}; repair that file";
    VERSION_TXT_TOO_LONG "version_txt_too_long" "{key} has {size} bytes, but should hold one version";
    VERSION_TXT_UNREADABLE "version_txt_unreadable" "{key} should hold one version such as 1.2.0, but holds {holds}[: {why}]";
    CHANNEL_DIFFERS "channel_differs_from_release" "{release} and {deployed} both claim to be {version} and differ; nothing is offered until {channel} is promoted again";
    METADATA_CONTRADICTS "metadata_contradicts_release" "{key} was published with the sha256 {published}, and the metadata beside it gives {said}; publish the image with {published} as {version} again, which repairs both";
    METADATA_UNREADABLE "metadata_unreadable" "{key} cannot be read ({why}), and nobody knows what it requires; repair that file, or remove it";
    METADATA_OF_ANOTHER "metadata_of_another" "{key} speaks of another image ({says}) than {image} beside it ({is}); put back the one that is wrong, or publish the image again";
    IMAGE_ENCODED "image_encoded" "{key} is stored with Content-Encoding: {encoding}, which devices do not undo; upload the image as it is, without that header";
    READ_FIRST "image_read_first" "{key} is being read, as each image is before it is offered, and that takes longer than {seconds} seconds; {version} can be offered once it is done";
    REQUIRES_NO_VERSION "requires_no_version" "the metadata beside {key} requires \"{requires}\", which is no version; repair it";
    IMAGE_LOST "image_lost" "{key} has gone, and nothing says which image it was; restore it, or remove {version_txt} and publish {version} again";

    PRODUCT_UNREADABLE "product_unreadable" "{key} in {place} cannot be read ({why}); repair that file";
    LIST_UNREADABLE "blocked_list_unreadable" "every version is blocked, because {key} cannot be read ({why}); repair or remove that file[; it cannot be promoted{promotion?}]";
    BLOCKED "version_blocked" "version {version} is blocked[: {why}][; it cannot be promoted; unblock it first{promotion?}]";
    LIST_CHANGED "blocked_list_changed" "{key} was changed by others each of the {attempts} times this was tried; run it again later";
    LIST_TOO_LONG "blocked_list_too_long" "{key} would grow beyond 1 MiB; give a shorter reason";
    BLOCKED_BYTES "blocked_bytes" "these are the bytes of {product} {version}, which is blocked[: {why}]; a block holds for an image under every name: build a new one, or unblock {product} {version} first";
    NOT_BLOCKABLE "not_blockable" "\"{version}\" cannot be blocked: it must be a version such as 1.2.0, or a name of letters, digits and . _ + - that has a digit and cannot be taken for a range";
    NOT_BLOCKED "not_blocked" "version {version} of {product} is not blocked";

    NOTES_TOO_LONG "notes_too_long" "the notes are longer than {kib} KiB; say the most important things there, and link to the rest";
    METADATA_TOO_LONG "metadata_too_long" "metadata.json would exceed 1 MiB";
    PUBLISHED_BY_ANOTHER "published_by_another" "somebody else is publishing {version} of {product} at the same time; run this again";

    NO_RELEASE "no_release" "{product} has no release {version}";
    CHANNEL_IS_HIGHER "channel_is_higher" "{version} of {product} is published, and {channel} points to {higher}, which is higher, so it is not promoted";
    PROMOTED_BY_ANOTHER "promoted_by_another" "somebody else is promoting to {channel} of {product} at the same time; run this again";
    PROMOTION_WITHOUT_IMAGE "promotion_without_image" "{key} is missing or larger than 16 MiB, so it cannot be promoted; publish the image of {version} again, which puts it back";
    PROMOTION_UNFIT "promotion_unfit" "{version} cannot be promoted: {why}";
    PROMOTION_OF_ANOTHER_IMAGE "promotion_of_another_image" "{key} is not the image that {version} was published with (sha256 {published}), so it cannot be promoted; publish that image as {version} again, which puts it back";
    PROMOTION_AGAINST_METADATA "promotion_against_metadata" "{key} is not the image whose sha256 {metadata} gives, so it cannot be promoted; restore the one that is wrong, or publish the image of {version} again";
}
