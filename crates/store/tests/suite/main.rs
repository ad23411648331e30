//! The store's promises, each kept by a folder and by two real S3 APIs over HTTP, because none checks everything:
//!
//! | behaviour | moto 5.2 | s3s-fs 0.14 |
//! |---|---|---|
//! | signatures of requests and of URLs | not checked | checked |
//! | a URL's expiry, and a changed key or lifetime in it | not checked | checked |
//! | a bucket, a region or credentials that are wrong | the bucket only | bucket and credentials |
//! | If-None-Match and If-Match | checked, in two steps: its writes go one by one here | the same |
//! | keys with `//` or `..`, listings that `object_store` cannot name | as S3 | refused: keys are paths of files |
//! | listings in pages | as S3 | one page |
//! | session tokens | not checked | not checked: the fixture before it does |

mod again;
mod answers;
mod artifact;
mod blocked;
mod by_hand;
mod conditions;
mod credentials;
mod cuts;
mod dropped;
mod failures;
mod gate;
mod hostile;
mod killed;
mod pages;
mod place;
mod policies;
mod presigned;
mod promote;
mod publish;
mod quirks;
mod races;
mod real;
mod repair;
mod sentences;
mod servers;
mod signed;
mod signers;
mod stops;
mod two_promoters;
mod two_publishers;

/// Makes of each promise three tests: one with a folder, one with each server.
macro_rules! in_all {
    ($($file:ident :: $promise:ident,)*) => {
        mod folder {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { crate::$file::$promise(&crate::place::Place::folder().await).await; })*
        }
        mod moto {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { crate::$file::$promise(&crate::place::Place::moto().await).await; })*
        }
        mod strict {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() { crate::$file::$promise(&crate::place::Place::strict().await).await; })*
        }
    };
}

in_all! {
    publish::a_published_image_is_read_back_with_all_that_is_known,
    publish::the_same_bytes_again_change_nothing,
    publish::other_bytes_under_a_published_version_are_refused,
    publish::build_metadata_makes_no_other_version,
    publish::an_older_folder_with_build_metadata_in_its_name_is_the_release,
    publish::of_two_older_folders_the_one_that_is_named_is_taken,
    publish::a_long_image_is_published_and_promoted,
    publish::what_a_killed_publish_left_is_replaced,
    publish::another_publishers_young_image_is_left_alone_and_the_same_one_gone_on_with,
    publish::a_release_without_version_txt_does_not_exist,
    publish::the_gate_says_no_in_a_sentence,
    publish::the_first_image_fixes_the_chip,
    publish::a_version_comes_from_the_image_only_if_it_is_its_own,
    publish::notes_longer_than_16_kib_are_refused_before_anything_is_written,
    gate::each_refusal_and_each_warning_has_its_name_its_level_and_its_sentence,
    gate::the_command_for_a_merged_image_cuts_the_application_out,
    gate::what_is_published_is_published_again_whatever_became_of_the_product,
    gate::settings_of_the_product_overrule_and_warn_earlier,
    gate::what_is_known_of_a_build_stands_in_its_metadata,
    gate::an_image_that_another_program_deployed_is_compared_with_too,
    gate::a_recorded_slot_and_a_person_s_number_both_limit_an_image,
    signers::a_product_with_trusted_keys_takes_only_what_one_of_them_signed,
    signers::of_so_many_trusted_keys_as_are_required_each_must_have_signed,
    signers::without_trusted_keys_the_unsigned_and_the_signed_are_published,
    signers::signatures_of_which_none_is_good_are_refused_always,
    promote::promoting_copies_the_release_and_is_idempotent,
    promote::unknown_metadata_keys_survive,
    promote::blocked_and_unknown_versions_are_refused,
    promote::a_channel_that_differs_from_its_release_offers_nothing,
    promote::a_corrupt_release_is_not_promoted,
    promote::blocked_bytes_are_promoted_under_no_name,
    promote::metadata_of_the_last_image_does_not_stay,
    blocked::entries_come_and_go,
    blocked::an_unreadable_list_blocks_everything_and_is_never_written,
    blocked::a_version_that_is_blocked_for_its_security_raises_the_floor_of_the_gate,
    by_hand::a_bucket_filled_by_hand_is_served,
    by_hand::a_bucket_in_the_requirements_layout_is_served,
    by_hand::what_is_not_ours_is_passed_over,
    by_hand::files_of_each_tool_are_read,
    by_hand::a_release_is_written_in_one_spelling,
    by_hand::an_object_that_is_stored_encoded_is_refused_by_that_name,
    by_hand::reading_is_bounded,
    by_hand::a_change_by_another_program_is_seen_at_once,
    artifact::a_release_that_metadata_contradicts_offers_nothing_until_it_is_published_again,
    artifact::a_release_that_was_deleted_and_published_again_is_known_by_its_new_image,
    artifact::releases_between_two_versions_are_listed_highest_first,
    repair::a_release_that_lost_its_image_gets_it_back_and_no_other,
    repair::metadata_of_the_release_itself_is_enough_to_repair_it,
    races::a_hundred_rounds_of_two_writers_lose_no_block,
    races::of_two_publishers_exactly_one_wins,
    races::a_refusal_found_at_the_last_moment_is_the_gate_s,
    races::version_txt_never_names_a_missing_image,
    races::two_promoters_leave_one_whole_release,
    two_promoters::a_channel_that_holds_another_image_offers_nothing_until_a_late_job_mends_it,
    two_promoters::a_corrupt_higher_release_hides_no_reason_and_hinders_no_permission,
    cuts::a_publish_cut_anywhere_completes_when_run_again,
    cuts::a_publish_cut_anywhere_gives_way_to_other_bytes,
    cuts::a_promote_cut_anywhere_completes_when_run_again,
    cuts::a_torn_write_is_seen_before_the_commit,
    cuts::a_block_cut_anywhere_completes_when_run_again,
    hostile::a_corrupt_product_hides_no_other_and_a_corrupt_release_no_other,
    signed::only_images_are_signed_and_only_for_a_while,
    signed::an_image_is_served_whole_and_in_part,
}
