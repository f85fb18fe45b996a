/** Types of policy-page.mjs, for the test that holds docs/policy.md to it. */
export function policyPage(root: string): Promise<string>;
