//! QUERN_MODEL: the shipped model, else that of the tree.
use quern::{Model, Options};

fn path() -> String {
    std::env::var("QUERN_MODEL")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../models/all-MiniLM-L6-v2.int8.qrn").into())
}

#[test]
fn a_batch_equals_its_texts_alone() {
    let model = Model::open(&path()).unwrap();
    let mut session = model.session().unwrap();
    let texts = ["a cat on a mat", "", "the stock market fell", "naïve café 東京"];
    let all = session.embed(&texts).unwrap();
    assert_eq!(all.len(), 4 * model.width());
    for (text, row) in texts.iter().zip(all.chunks(model.width())) {
        assert_eq!(session.embed(&[text]).unwrap(), row);
    }
    assert!(session.embed::<&str>(&[]).unwrap().is_empty());
}

#[test]
fn threads_share_a_model() {
    let model = Model::open_with(&path(), &Options { threads: 1, ..Options::default() }).unwrap();
    let want = model.session().unwrap().embed(&["shared"]).unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let model = model.clone();
            std::thread::spawn(move || model.session().unwrap().embed(&["shared"]).unwrap())
        })
        .collect();
    for worker in workers {
        assert_eq!(worker.join().unwrap(), want);
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = Model::open("/nonexistent/x.qrn").err().unwrap();
    assert_eq!(error.status, 3);
    assert!(error.message.contains("/nonexistent/x.qrn"));
    let options = Options { isa: Some("z80".into()), ..Options::default() };
    let error = Model::open_with(&path(), &options).err().unwrap();
    assert!(error.status == 13 && error.message.contains("z80"));
    let options = Options { threads: 1025, ..Options::default() };
    let error = Model::open_with(&path(), &options).err().unwrap();
    assert!(error.status == 1 && error.message.contains("1 to 1024"));
    assert_eq!(Model::open("a\0b").err().unwrap().status, 1);
}

#[test]
fn a_session_outlives_its_model() {
    let mut session = Model::open(&path()).unwrap().session().unwrap();
    assert_eq!(session.embed(&["kept"]).unwrap().len(), 384);
}
