// Prints the closing line with the counts, after the default report. With SEALMESH_TEST_REQUIRE=all a skipped test
// fails the run: the gate installs everything, so nothing may be missing there.
export default class CountReporter {
  onTestRunEnd(modules, errors) {
    // what failed outside of any test counts as well: a process that was killed, an error that nobody caught
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      if (module.state() === "failed" && module.errors().length > 0) counts.failed += 1;
      for (const test of module.children.allTests())
        counts[test.result().state] = (counts[test.result().state] ?? 0) + 1;
    }
    if (process.env.SEALMESH_TEST_REQUIRE === "all" && counts.skipped > 0) {
      console.log(`${counts.skipped} tests were skipped although SEALMESH_TEST_REQUIRE=all asks for all of them`);
      process.exitCode = 1;
    }
    console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  }
}
