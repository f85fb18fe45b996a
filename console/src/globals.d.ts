/** Written in by vite.config.ts. */
declare const __DEMO_QUESTIONS__: readonly string[];

declare module "*.css";
