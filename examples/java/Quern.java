/* Quern for Java: a model file, made by the command, as an embedder. One call at a time runs on an embedder; open one
 * per thread to run side by side. The native half is quern_jni.c; -Djava.library.path names the folder of libquern_jni.so. */
public final class Quern implements AutoCloseable {
  static {
    System.loadLibrary("quern_jni");
  }

  /** A failed call: the number of quern.h, and what to do. */
  public static final class QuernException extends RuntimeException {
    private static final long serialVersionUID = 1;
    public final int status;

    QuernException(int status, String message) {
      super(message);
      this.status = status;
    }
  }

  private long handle;
  private final int width;

  public Quern(String path) {
    handle = open(utf8(path + "\0"));
    width = width(handle);
  }

  /** Floats of one embedding. */
  public int width() {
    return width;
  }

  /** Embeddings side by side, [texts, width]. */
  public synchronized float[] embed(String... texts) {
    if (handle == 0) throw new IllegalStateException("the model is closed");
    byte[][] encoded = new byte[texts.length][];
    long[] offsets = new long[texts.length + 1];
    for (int i = 0; i < texts.length; i++) {
      encoded[i] = utf8(texts[i]);
      offsets[i + 1] = offsets[i] + encoded[i].length;
    }
    byte[] all = new byte[Math.toIntExact(offsets[texts.length])];
    for (int i = 0; i < texts.length; i++) System.arraycopy(encoded[i], 0, all, (int) offsets[i], encoded[i].length);
    float[] out = new float[Math.multiplyExact(texts.length, width)];
    if (texts.length > 0) embed(handle, all, offsets, out);
    return out;
  }

  @Override
  public synchronized void close() {
    if (handle != 0) close(handle);
    handle = 0;
  }

  private static byte[] utf8(String text) {
    return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
  }

  private static native long open(byte[] path);

  private static native int width(long handle);

  private static native void embed(long handle, byte[] utf8, long[] offsets, float[] out);

  private static native void close(long handle);
}
