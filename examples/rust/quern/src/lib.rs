//! Quern for Rust: it runs embedders. Model files are made by the command, `quern quantize`.
//!
//! A [`Model`] is read-only and shared: clone it, send it to other threads. A [`Session`] is the working memory of one
//! thread at a time. Results are the same bytes on every CPU, thread count and batch.
use quern_sys as sys;
use std::ffi::{c_char, c_void, CStr, CString};
use std::{fmt, ptr, sync::Arc};

/// A failed call: the number of quern.h, and what to do.
#[derive(Debug, Clone)]
pub struct Error {
    pub status: i32,
    pub message: String,
}
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Error {}
pub type Result<T> = std::result::Result<T, Error>;

/// The message that `fill` copies, or the status's name where there is none.
fn error(status: i32, fill: impl FnOnce(*mut c_char, usize) -> i32) -> Error {
    let mut text = [0 as c_char; 512];
    fill(text.as_mut_ptr(), text.len());
    // SAFETY: the buffer ends with a NUL; status names are constants.
    let message = unsafe {
        let own = CStr::from_ptr(text.as_ptr());
        if own.is_empty() {
            CStr::from_ptr(sys::quern_status_name(status))
        } else {
            own
        }
    };
    Error { status, message: message.to_string_lossy().into_owned() }
}

/// Keeps a message in `user`, a `[c_char; 512]`.
unsafe extern "C" fn keep_message(user: *mut c_void, level: i32, message: *const c_char) {
    if level == 0 {
        let text = user.cast::<[c_char; 512]>();
        // SAFETY: the caller gave the array, and a string that ends with a NUL; the last byte of the array stays 0.
        unsafe {
            let n = CStr::from_ptr(message).to_bytes().len().min(511);
            ptr::copy_nonoverlapping(message, text.cast(), n);
            (*text)[n] = 0;
        }
    }
}

struct Context(*mut sys::quern_context);
// SAFETY: a context may be used from any number of threads at once (quern.h).
unsafe impl Send for Context {}
unsafe impl Sync for Context {}
impl Drop for Context {
    fn drop(&mut self) {
        unsafe { sys::quern_context_free(self.0) }
    }
}

struct Mapped {
    model: *mut sys::quern_model,
    context: Context, // freed after the model: fields drop after `drop`
}
// SAFETY: a model is read-only and may be used from any number of threads at once (quern.h).
unsafe impl Send for Mapped {}
unsafe impl Sync for Mapped {}
impl Drop for Mapped {
    fn drop(&mut self) {
        unsafe { sys::quern_model_free(self.model) }
    }
}

/// How a model is opened. Zero and `None` are the defaults of quern.h.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub threads: u32,
    pub isa: Option<String>,
}

/// A mapped model file. Clones share it.
#[derive(Clone)]
pub struct Model(Arc<Mapped>);

impl Model {
    pub fn open(path: &str) -> Result<Model> {
        Model::open_with(path, &Options::default())
    }

    pub fn open_with(path: &str, options: &Options) -> Result<Model> {
        let nul = |_| Error { status: 1, message: "a path or name holds a NUL byte".into() };
        let path = CString::new(path).map_err(nul)?;
        let isa = options.isa.as_deref().map(CString::new).transpose().map_err(nul)?;
        // SAFETY: every pointer is valid for the call; a failed call writes none of its outputs.
        unsafe {
            let mut o = std::mem::zeroed::<sys::quern_context_options>();
            sys::quern_context_options_init(&mut o, std::mem::size_of_val(&o) as u32);
            o.threads = options.threads;
            o.isa = isa.as_ref().map_or(ptr::null(), |name| name.as_ptr());
            let mut c = ptr::null_mut();
            let status = sys::quern_context_create(&mut c, &o);
            if status != sys::QUERN_OK {
                // There is no context to ask: the message goes to a log, which must not outlive this call.
                return Err(error(status, |text, _| {
                    o.log = Some(keep_message);
                    o.log_user = text.cast();
                    if sys::quern_context_create(&mut c, &o) == sys::QUERN_OK {
                        sys::quern_context_free(c);
                    }
                    status
                }));
            }
            let context = Context(c);
            let mut model = ptr::null_mut();
            let status = sys::quern_model_open(&mut model, c, path.as_ptr(), ptr::null());
            if status != sys::QUERN_OK {
                return Err(error(status, |text, n| sys::quern_context_error(c, text, n)));
            }
            Ok(Model(Arc::new(Mapped { model, context })))
        }
    }

    fn info(&self) -> sys::quern_model_info {
        let mut info =
            sys::quern_model_info { size: std::mem::size_of::<sys::quern_model_info>() as u32, ..Default::default() };
        // SAFETY: the struct says its size.
        unsafe { sys::quern_model_get_info(self.0.model, &mut info) };
        info
    }

    /// Floats of one embedding; 0: the model is no embedder.
    pub fn width(&self) -> usize {
        self.info().embedding_width as usize
    }

    pub fn session(&self) -> Result<Session> {
        let mut session = ptr::null_mut();
        // SAFETY: the model lives as long as the session, which keeps a clone.
        let status = unsafe { sys::quern_session_create(&mut session, self.0.model, ptr::null()) };
        if status != sys::QUERN_OK {
            let c = self.0.context.0;
            return Err(error(status, |text, n| unsafe { sys::quern_context_error(c, text, n) }));
        }
        Ok(Session { session, model: self.clone() })
    }

    /// Inner product in the library's fixed order: for embeddings of length 1, their similarity.
    ///
    /// # Panics
    /// When the vectors differ in length.
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        // SAFETY: both are a.len() floats.
        unsafe { sys::quern_dot(self.0.context.0, a.as_ptr(), b.as_ptr(), a.len()) }
    }
}

/// Working memory: one call at a time, which `&mut` sees to.
pub struct Session {
    session: *mut sys::quern_session,
    model: Model,
}
// SAFETY: a session is bound to no thread; it serves one call at a time (quern.h).
unsafe impl Send for Session {}
impl Drop for Session {
    fn drop(&mut self) {
        unsafe { sys::quern_session_free(self.session) }
    }
}

impl Session {
    /// Embeddings side by side, [texts, width].
    pub fn embed<T: AsRef<str>>(&mut self, texts: &[T]) -> Result<Vec<f32>> {
        let mut utf8 = String::new();
        let mut offsets = vec![0i64];
        for text in texts {
            utf8.push_str(text.as_ref());
            offsets.push(utf8.len() as i64);
        }
        let mut out = vec![0f32; texts.len() * self.model.width()];
        if texts.is_empty() {
            return Ok(out);
        }
        // SAFETY: offsets are n + 1 within utf8; `out` says its size.
        let status = unsafe {
            sys::quern_embed_batch(
                self.session,
                utf8.as_ptr().cast(),
                offsets.as_ptr(),
                texts.len(),
                out.as_mut_ptr(),
                out.len(),
                ptr::null_mut(),
            )
        };
        if status != sys::QUERN_OK {
            let s = self.session;
            return Err(error(status, |text, n| unsafe { sys::quern_session_error(s, text, n) }));
        }
        Ok(out)
    }
}
