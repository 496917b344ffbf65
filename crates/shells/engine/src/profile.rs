//! An operator's profile, from the text of its file.

use warp_protocol::{
    Problem, ProblemCode,
    identity::SIGNATURE,
    profile::{MAX_PROFILE, Profile, SignedProfile, profile_message},
};

/// Reads and proves a profile; `name` is the file's, for errors.
///
/// # Errors
/// `profile-invalid`: it is no profile, a value is not allowed, or its signature does not fit.
pub fn open_profile(name: &str, text: &str) -> Result<Profile, Problem> {
    let wrong = |why: String| Problem::new(ProblemCode::ProfileInvalid, name).with_detail(why);
    if text.len() > MAX_PROFILE {
        return Err(wrong(format!("it is longer than {MAX_PROFILE} bytes")));
    }
    let signed: SignedProfile =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let profile: Profile =
        serde_json::from_str(&signed.profile).map_err(|error| wrong(error.to_string()))?;
    profile.check().map_err(wrong)?;
    let mut signature = [0; SIGNATURE];
    hex::decode_to_slice(&signed.signature, &mut signature)
        .map_err(|_| wrong("the signature is not 128 hex digits".into()))?;
    let message = profile_message(&signed.profile);
    if !warp_link_core::verify(&profile.public_key, &message, &signature) {
        return Err(wrong(
            "the signature does not fit: it was changed after it was signed".into(),
        ));
    }
    Ok(profile)
}
