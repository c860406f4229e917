import java.util.Arrays;

/* Tests of Quern.java:  Test MODEL.qrn */
public final class Test {
  private static void check(boolean ok, String what) {
    if (!ok) throw new AssertionError(what);
  }

  public static void main(String[] arguments) {
    Quern model = new Quern(arguments[0]);
    String[] texts = {"a cat on a mat", "", "na\u00efve caf\u00e9 \u6771\u4eac", "x".repeat(3000)};
    float[] all = model.embed(texts);
    int width = model.width();
    check(all.length == texts.length * width, "shape");
    for (int i = 0; i < texts.length; i++) {
      float[] row = Arrays.copyOfRange(all, i * width, (i + 1) * width);
      check(Arrays.equals(row, model.embed(texts[i])), "a batch equals its texts alone");
    }
    check(model.embed().length == 0, "no texts");
    try {
      new Quern("/nonexistent/x.qrn").close();
      check(false, "a missing file is opened");
    } catch (Quern.QuernException e) {
      check(e.status == 3 && e.getMessage().contains("/nonexistent/x.qrn"), e.getMessage());
    }
    model.close();
    model.close();
    try {
      model.embed("closed");
      check(false, "a closed model embeds");
    } catch (IllegalStateException e) {
      System.out.println("ok");
    }
  }
}
