//! What the safe crate needs of quern.h, as it stands there. Contracts: the header.
#![allow(non_camel_case_types)]
use std::ffi::{c_char, c_void};

pub type quern_status = i32;
pub const QUERN_OK: quern_status = 0;

macro_rules! opaque {
    ($($name:ident),*) => {$(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        }
    )*};
}
opaque!(quern_context, quern_model, quern_session);

#[repr(C)]
pub struct quern_context_options {
    pub size: u32,
    pub threads: u32,
    pub isa: *const c_char,
    pub alloc: *const c_void,
    pub log: Option<unsafe extern "C" fn(*mut c_void, i32, *const c_char)>,
    pub log_user: *mut c_void,
    pub parallel: *const c_void,
    pub parallel_user: *mut c_void,
    pub log_level: i32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Default)]
pub struct quern_model_info {
    pub size: u32,
    pub layers: u32,
    pub width: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub ffn_width: u32,
    pub vocab: u32,
    pub max_tokens: u32,
    pub sentence_tokens: u32,
    pub labels: u32,
    pub embedding_width: u32,
    pub regression: u32,
    pub tensors: u32,
    pub sites: u32,
    pub span: u32,
    pub params: u64,
    pub bytes: u64,
}

extern "C" {
    pub fn quern_version() -> u32;
    pub fn quern_status_name(s: quern_status) -> *const c_char;
    pub fn quern_isa_name(i: u32) -> *const c_char;
    pub fn quern_context_options_init(o: *mut quern_context_options, size: u32);
    pub fn quern_context_create(out: *mut *mut quern_context, o: *const quern_context_options) -> quern_status;
    pub fn quern_context_free(c: *mut quern_context);
    pub fn quern_context_error(c: *const quern_context, buf: *mut c_char, cap: usize) -> quern_status;
    pub fn quern_model_open(
        out: *mut *mut quern_model,
        c: *mut quern_context,
        path: *const c_char,
        o: *const c_void,
    ) -> quern_status;
    pub fn quern_model_free(m: *mut quern_model);
    pub fn quern_model_get_info(m: *const quern_model, info: *mut quern_model_info) -> quern_status;
    pub fn quern_session_create(out: *mut *mut quern_session, m: *mut quern_model, o: *const c_void) -> quern_status;
    pub fn quern_session_free(s: *mut quern_session);
    pub fn quern_session_error(s: *const quern_session, buf: *mut c_char, cap: usize) -> quern_status;
    pub fn quern_embed_batch(
        s: *mut quern_session,
        utf8: *const c_char,
        offsets: *const i64,
        n: usize,
        out: *mut f32,
        cap: usize,
        width: *mut u32,
    ) -> quern_status;
    pub fn quern_dot(c: *const quern_context, a: *const f32, b: *const f32, n: usize) -> f32;
}
