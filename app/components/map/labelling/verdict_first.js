/** Whether this browser shows the model's verdict before the analyst's answer; by default it does not. */

const VERDICT = 'damage_ssl:verdict-first';

export function verdictFirst() {
  try {
    return localStorage.getItem(VERDICT) === '1';
  } catch {
    return false;
  }
}

export function keepVerdictFirst(on) {
  try {
    localStorage.setItem(VERDICT, on ? '1' : '0');
  } catch {
    /* private mode: the verdict stays hidden */
  }
}
