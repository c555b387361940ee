import { runCases } from '../conformance/case.ts';
import { DELEGATION } from '../conformance/delegation.ts';
import { REFERENCES, TARTANS } from '../conformance/openings.ts';

runCases([...REFERENCES, ...TARTANS], DELEGATION);
