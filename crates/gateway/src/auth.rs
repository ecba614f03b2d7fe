//! Tokens: their shapes, who owns them, and the limit on failed attempts. Everything is in memory;
//! only SHA-256 hashes are ever stored.

use crate::limits::SlidingWindow;
use arc_swap::ArcSwap;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use kruxos_store::{AgentStatus, TokenOwner};
use kruxos_types::{AgentName, CallError, Clock, ErrorType, Principal};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;

/// What a User token starts with.
pub const USER_PREFIX: &str = "krx_user_";
/// Failed attempts that one remote address may make in [`FAILURE_WINDOW_SECONDS`].
const MAX_FAILURES: u32 = 10;
const FAILURE_WINDOW_SECONDS: u64 = 60;
/// Addresses whose failures are remembered; past it the table starts anew, so that it cannot grow.
const MAX_TRACKED_ADDRESSES: usize = 4096;

/// Who a token proved to be.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The caller.
    pub principal: Principal,
    /// The agent's name, unless it is a User.
    pub agent: Option<AgentName>,
    /// The hash of the token that proved it: a token is good only as long as this is its owner's.
    hash: [u8; 32],
}

/// A fresh agent token, 64 lower-case hex characters, with the hash that is stored.
#[must_use]
pub fn new_agent_token() -> (String, [u8; 32]) {
    let token = HEXLOWER.encode(&random_bytes());
    let hash = hash_token(&token);
    (token, hash)
}

/// A fresh User token, `krx_user_` and base64url of 32 bytes, with the hash that is stored.
#[must_use]
pub fn new_user_token() -> (String, [u8; 32]) {
    let token = format!("{USER_PREFIX}{}", BASE64URL_NOPAD.encode(&random_bytes()));
    let hash = hash_token(&token);
    (token, hash)
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    if getrandom::fill(&mut bytes).is_err() {
        // Without randomness every token would be guessable; stopping is the only safe answer.
        std::process::abort();
    }
    bytes
}

fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Every token's owner, and who has failed lately.
#[derive(Debug)]
pub struct Tokens {
    owners: ArcSwap<HashMap<[u8; 32], TokenOwner>>,
    failures: Mutex<HashMap<IpAddr, SlidingWindow>>,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// A registry of these owners.
    #[must_use]
    pub fn new(owners: Vec<([u8; 32], TokenOwner)>, clock: Arc<dyn Clock>) -> Self {
        Self {
            owners: ArcSwap::from_pointee(owners.into_iter().collect()),
            failures: Mutex::default(),
            clock,
        }
    }

    /// Replaces the owners, after any change in the store.
    pub fn replace(&self, owners: Vec<([u8; 32], TokenOwner)>) {
        self.owners.store(Arc::new(owners.into_iter().collect()));
    }

    /// Forgets a User's live token until the owners are read from the store again.
    pub(crate) fn forget_user(&self, gone: &str) {
        self.forget(|owner| matches!(owner, TokenOwner::User { label, .. } if label == gone));
    }

    /// Forgets an agent's token until the owners are read from the store again.
    pub(crate) fn forget_agent(&self, gone: &AgentName) {
        self.forget(|owner| matches!(owner, TokenOwner::Agent { name, .. } if name == gone));
    }

    fn forget(&self, goes: impl Fn(&TokenOwner) -> bool) {
        let mut owners = HashMap::clone(&self.owners.load());
        owners.retain(|_, owner| !goes(owner));
        self.owners.store(Arc::new(owners));
    }

    /// Proves who presents a token. White space around a pasted token does not count.
    ///
    /// # Errors
    /// `auth.invalid_credentials` (also for the wrong shape, which it names without looking anything
    /// up), `auth.agent_revoked`, `auth.user_token_revoked`, and `auth.rate_limited` once an address has
    /// failed too often. A right token is never refused for a neighbour's failures.
    pub fn authenticate(&self, presented: &str, peer: IpAddr) -> Result<Identity, CallError> {
        self.prove(presented.trim())
            .map_err(|error| self.count_failure(error, peer))
    }

    /// The refusal for a request without any token.
    #[must_use]
    pub fn missing(&self, peer: IpAddr) -> CallError {
        let error = CallError::new(ErrorType::AuthInvalidCredentials)
            .detail("No token was sent; send «Authorization: Bearer <token>».");
        self.count_failure(error, peer)
    }

    fn prove(&self, token: &str) -> Result<Identity, CallError> {
        check_shape(token).map_err(|why| {
            CallError::new(ErrorType::AuthInvalidCredentials).detail(why.to_string())
        })?;
        self.owner_of(hash_token(token))
    }

    /// Looks again whether the token that was presented is still good: between the head of a request
    /// and the end of its body it may have been rotated or revoked.
    ///
    /// # Errors
    /// As [`Tokens::authenticate`], counting no failure.
    pub fn recheck(&self, identity: &Identity) -> Result<(), CallError> {
        self.owner_of(identity.hash).map(drop)
    }

    fn owner_of(&self, hash: [u8; 32]) -> Result<Identity, CallError> {
        let owners = self.owners.load();
        let owner = owners
            .get_key_value(&hash)
            .filter(|(stored, _)| bool::from(stored.ct_eq(&hash)))
            .map(|(_, owner)| owner)
            .ok_or_else(|| CallError::new(ErrorType::AuthInvalidCredentials))?;
        match owner {
            TokenOwner::Agent {
                name,
                status: AgentStatus::Revoked,
                ..
            } => Err(CallError::new(ErrorType::AuthAgentRevoked).with("name", name.as_str())),
            TokenOwner::Agent { name, .. } => Ok(Identity {
                principal: Principal::agent(name.as_str()),
                agent: Some(name.clone()),
                hash,
            }),
            TokenOwner::User {
                label,
                revoked: true,
                ..
            } => Err(CallError::new(ErrorType::AuthUserTokenRevoked).with("name", label.as_str())),
            TokenOwner::User { label, .. } => Ok(Identity {
                principal: Principal::user(label),
                agent: None,
                hash,
            }),
        }
    }

    fn count_failure(&self, error: CallError, peer: IpAddr) -> CallError {
        let now = self.clock.now().as_second();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_TRACKED_ADDRESSES && !failures.contains_key(&peer) {
            failures.clear();
        }
        let window = failures
            .entry(peer)
            .or_insert_with(|| SlidingWindow::new(MAX_FAILURES, FAILURE_WINDOW_SECONDS));
        match window.admit(now) {
            Ok(()) => error,
            Err(retry_after) => CallError::new(ErrorType::AuthRateLimited)
                .with("limit", MAX_FAILURES)
                .with("window_seconds", FAILURE_WINDOW_SECONDS)
                .retry_after(retry_after),
        }
    }
}

/// A token that was cut off or mistyped: what was expected and what came.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongShape(String);

/// Tells a token that was cut off or mistyped from one that is merely unknown.
fn check_shape(token: &str) -> Result<(), WrongShape> {
    if let Some(body) = token.strip_prefix(USER_PREFIX) {
        return match BASE64URL_NOPAD.decode(body.as_bytes()) {
            Ok(bytes) if bytes.len() == 32 => Ok(()),
            _ => Err(WrongShape(format!(
                "Expected {USER_PREFIX} and 43 base64url characters, got {}.",
                body.chars().count()
            ))),
        };
    }
    let length = token.chars().count();
    if length != 64 {
        return Err(WrongShape(format!(
            "Expected 64 hex characters, got {length}."
        )));
    }
    if !token
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        let message = "Expected 64 lower-case hex characters, got another alphabet.";
        return Err(WrongShape(message.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use kruxos_types::FakeClock;
    use std::time::Duration;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn registry() -> (Tokens, String, Arc<FakeClock>) {
        let (token, hash) = new_agent_token();
        let clock = Arc::new(FakeClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let name = AgentName::new("a").unwrap();
        let owner = TokenOwner::Agent {
            name,
            status: AgentStatus::Active,
            generation: 1,
        };
        (
            Tokens::new(vec![(hash, owner)], clock.clone()),
            token,
            clock,
        )
    }

    #[test]
    fn a_right_token_is_known_with_white_space_around_it() {
        let (tokens, token, _) = registry();
        let identity = tokens.authenticate(&format!(" {token}\n"), PEER).unwrap();
        assert_eq!(&*identity.principal.name, "a");
    }

    #[test]
    fn a_token_that_went_between_head_and_body_proves_nothing_any_more() {
        let (tokens, token, _) = registry();
        let identity = tokens.authenticate(&token, PEER).unwrap();
        assert!(tokens.recheck(&identity).is_ok());
        let (_, rotated) = new_agent_token();
        let owner = |status| TokenOwner::Agent {
            name: AgentName::new("a").unwrap(),
            status,
            generation: 2,
        };
        tokens.replace(vec![(rotated, owner(AgentStatus::Active))]);
        let error = tokens.recheck(&identity).unwrap_err();
        assert_eq!(error.error_type(), ErrorType::AuthInvalidCredentials);
        tokens.replace(vec![(identity.hash, owner(AgentStatus::Revoked))]);
        let error = tokens.recheck(&identity).unwrap_err();
        assert_eq!(error.error_type(), ErrorType::AuthAgentRevoked);
    }

    #[test]
    fn a_cut_token_is_told_so() {
        let (tokens, token, _) = registry();
        let error = tokens.authenticate(&token[..63], PEER).unwrap_err();
        assert!(
            error.description().contains("got 63"),
            "{}",
            error.description()
        );
        let error = tokens.authenticate("krx_user_abc", PEER).unwrap_err();
        assert!(
            error.description().contains("43 base64url"),
            "{}",
            error.description()
        );
    }

    #[test]
    fn the_eleventh_failure_in_a_minute_is_limited_and_a_right_token_is_not() {
        let (tokens, token, clock) = registry();
        let wrong = "0".repeat(64);
        for _ in 0..10 {
            let error = tokens.authenticate(&wrong, PEER).unwrap_err();
            assert_eq!(error.error_type(), ErrorType::AuthInvalidCredentials);
        }
        let error = tokens.authenticate(&wrong, PEER).unwrap_err();
        assert_eq!(error.error_type(), ErrorType::AuthRateLimited);
        assert!(error.retry_after_seconds().unwrap() > 0);
        assert!(tokens.authenticate(&token, PEER).is_ok());
        clock.advance(Duration::from_secs(61));
        let error = tokens.authenticate(&wrong, PEER).unwrap_err();
        assert_eq!(error.error_type(), ErrorType::AuthInvalidCredentials);
    }
}
