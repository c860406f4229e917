//! Prints the line of standard input whose meaning is closest to a question:  search MODEL.qrn QUESTION < LINES
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, question] = arguments.as_slice() else {
        return Err("usage: search MODEL.qrn QUESTION < LINES".into());
    };
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let lines: Vec<&str> = text.lines().collect();
    let model = quern::Model::open(path)?;
    let mut session = model.session()?;
    let asked = session.embed(&[question])?;
    let vectors = session.embed(&lines)?;
    let scores = vectors.chunks(model.width()).map(|v| model.dot(&asked, v));
    if let Some((line, score)) = lines.iter().zip(scores).max_by(|a, b| a.1.total_cmp(&b.1)) {
        println!("{score:.3}  {line}");
    }
    Ok(())
}
