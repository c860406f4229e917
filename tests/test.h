/* test.h - the smallest test harness that serves: CHECK in functions, RUN in main, one summary line for tests/run.sh.
 */
#ifndef QN_TEST_H
#define QN_TEST_H
#include <stdio.h>
#include <string.h>

static int test_failures_, test_passed_, test_failed_;

#define CHECK(cond)                                                                                                    \
  do {                                                                                                                 \
    if (!(cond)) {                                                                                                     \
      if (test_failures_++ < 10) printf("  %s:%d: %s\n", __FILE__, __LINE__, #cond);                                   \
    }                                                                                                                  \
  } while (0)
/* Integers, printed on failure. */
#define CHECK_EQ(a, b)                                                                                                 \
  do {                                                                                                                 \
    long long a_ = (long long)(a), b_ = (long long)(b);                                                                \
    if (a_ != b_ && test_failures_++ < 10) printf("  %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #a, a_, b_);  \
  } while (0)
#define RUN(fn)                                                                                                        \
  do {                                                                                                                 \
    test_failures_ = 0;                                                                                                \
    fn();                                                                                                              \
    if (test_failures_) {                                                                                              \
      test_failed_++;                                                                                                  \
      printf("FAIL %s\n", #fn);                                                                                        \
    } else {                                                                                                           \
      test_passed_++;                                                                                                  \
      printf("ok   %s\n", #fn);                                                                                        \
    }                                                                                                                  \
    fflush(stdout);                                                                                                    \
  } while (0)
#define TEST_END() (printf("%d passed, %d failed\n", test_passed_, test_failed_), test_failed_ != 0)
#endif
