//! What a rollout may be, why there is none, and why one ended.

crate::entry::table! {
    STEPS "rollout_steps" "A rollout has 1 to {most} steps.";
    STEPS_ORDER "rollout_steps_order" "Each step has a higher percent than the one before, and the last has 100: it is of all devices up to that step.";
    SOAK "rollout_soak" "A step is watched for at most {most} seconds.";
    MAX_IN_FLIGHT "rollout_max_in_flight" "At least one device must be allowed to be at work at once.";
    UPDATE_TIMEOUT "rollout_update_timeout" "An update ends after a silence of {least} to {most} seconds.";
    EXPIRES_BEFORE "rollout_expires_before" "The rollout would expire before it begins.";
    VERSIONS "rollout_versions" "{text} is no range of versions: write comparisons such as >=1.0.0, <1.2.0.";
    SELECTOR "rollout_selector" "A selector has at most {most} {what}.";
    WHY "rollout_why" "A reason has at most {most} bytes.";
    NO_STATE "rollout_no_state" "A state is {states}; not {word}.";
    NO_ROLLOUT "no_rollout" "There is no rollout {rollout}.";
    NOBODY "rollout_of_nobody" "No device would be offered {version}: {selected} were selected[, of which {left_out} are left out ({why})].";
    OVERLAPS "rollout_overlaps" "Rollout {other} of {version} has {devices} of these devices ({examples}): a device is in one rollout at a time. Wait until it is done, or abort it.";
    BLOCKED_AT_START "rollout_of_blocked" "{version} is blocked, and is not rolled out[: {why}]";
    HAS_ENDED "rollout_has_ended" "Rollout {rollout} is {state} and cannot be {wanted}.";
    FAILS "rollout_fails" "{version} failed on {failed} of the {ended} devices that tried it ({percent} %): {tolerated} % are tolerated, {unacceptable} % are not.[ {evidence}]";
    FAILS_EVERYWHERE "fails_everywhere" "{version} failed on all {failed} devices that tried it.[ {evidence}]";
    FAILED_PERCENT "failed_percent" "{version} failed on {failed} of the {ended} devices that tried it ({percent} %), and {limit} % is the limit.[ {evidence}]";
    NONE_SUCCEEDED "none_succeeded" "{version} runs on none of the devices of step {step}, which have all ended.[ {evidence}]";
    BLOCKED "rollout_blocked" "{version} was blocked[: {why}]";
    EXPIRED "rollout_expired" "The rollout expired in step {step} of {steps}.";
    NOBODY_LEFT "rollout_nobody_left" "No device took {version}: each of them was cancelled.";
    CANNOT_BE_OFFERED "rollout_not_possible" "{version} cannot be offered: {why}";
    ABORTED_BY "aborted_by" "{who} aborted it[: {why}]";
    HIGHER_IN_PRODUCTION "rollout_higher_in_production" "{version} was promoted meanwhile, which is higher";
    NOT_PROMOTED "rollout_not_promoted" "It is done, and was not promoted: {why}";
    ALREADY_RUNS "rollout_already_runs" "it runs {version}";
    LEFT_OUT_EXPIRED "rollout_device_expired" "the rollout expired before the device was offered {version}";
    OTHER_PRODUCT "rollout_other_product" "The device is not of {product} any more.";
    SUPERSEDED "rollout_superseded" "{channel} has {version} now";
    TAKEN_OVER "rollout_taken_over" "rollout {other} has the device now";
}
