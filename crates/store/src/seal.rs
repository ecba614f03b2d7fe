//! What of an approval is encrypted at rest: exact inputs, preview and result, which may hold file
//! contents and secrets. AES-256-GCM; 12 random bytes of nonce stand before the ciphertext.

use crate::StoreError;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of the nonce (NIST SP 800-38D).
const NONCE: usize = 12;

/// Which part of a request a box holds; one never opens as another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    Inputs,
    Preview,
    Result,
    /// The inputs that an operator put in the place of those that were asked for.
    Edit,
    /// Which calls a grant covers.
    Pattern,
}

/// What a box is bound to: it does not open in another request's row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) id: &'a str,
    pub(crate) principal: &'a str,
    pub(crate) capability: &'a str,
    pub(crate) digest: &'a str,
}

impl Bound<'_> {
    /// Each field behind its length, so that no two sets of fields give the same bytes.
    fn bytes(self, part: Part) -> Vec<u8> {
        let part = match part {
            Part::Inputs => "inputs",
            Part::Preview => "preview",
            Part::Result => "result",
            Part::Edit => "edit",
            Part::Pattern => "pattern",
        };
        let mut bytes = Vec::with_capacity(192);
        for field in [part, self.id, self.principal, self.capability, self.digest] {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field.as_bytes());
        }
        bytes
    }
}

/// The key, ready for use.
#[derive(Clone)]
pub(crate) struct Sealer(Aes256Gcm);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// Takes the key over and wipes the copy it was given.
    pub(crate) fn new(key: &mut [u8; 32]) -> Self {
        let mut array = Key::<Aes256Gcm>::from(*key);
        let cipher = Aes256Gcm::new(&array);
        array.as_mut_slice().zeroize();
        key.zeroize();
        Self(cipher)
    }

    pub(crate) fn seal(
        &self,
        part: Part,
        bound: Bound<'_>,
        value: &impl Serialize,
    ) -> Result<Vec<u8>, StoreError> {
        let plain = serde_json::to_vec(value).map_err(|e| StoreError::Invalid(e.to_string()))?;
        let plain = Zeroizing::new(plain);
        let mut nonce = [0u8; NONCE];
        getrandom::fill(&mut nonce)
            .map_err(|_| StoreError::Stopped("the system has no random numbers".to_owned()))?;
        let payload = Payload {
            msg: &plain,
            aad: &bound.bytes(part),
        };
        let sealed = self
            .0
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| StoreError::Invalid("too large to be sealed".to_owned()))?;
        let mut out = Vec::with_capacity(NONCE + sealed.len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        part: Part,
        bound: Bound<'_>,
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        let damaged = || {
            let id = bound.id;
            StoreError::Corrupt(format!("{part:?} of {id} do not open with this key"))
        };
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let payload = Payload {
            msg: sealed,
            aad: &bound.bytes(part),
        };
        let plain = self
            .0
            .decrypt(&Nonce::from(*nonce), payload)
            .map_err(|_| damaged())?;
        crate::db::from_json(&Zeroizing::new(plain), "a sealed part")
    }
}
