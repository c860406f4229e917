import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/* Prints the line of standard input whose meaning is closest to a question:  Search MODEL.qrn QUESTION < LINES */
public final class Search {
  public static void main(String[] arguments) {
    String[] lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().toArray(String[]::new);
    try (Quern model = new Quern(arguments[0])) {
      float[] q = model.embed(arguments[1]), vectors = model.embed(lines);
      float best = -2;
      String answer = "";
      for (int i = 0; i < lines.length; i++) {
        float score = 0;
        for (int k = 0; k < q.length; k++) score += q[k] * vectors[i * q.length + k];
        if (score > best) {
          best = score;
          answer = lines[i];
        }
      }
      System.out.println(best + "  " + answer);
    }
  }
}
