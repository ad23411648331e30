-- The code of a refusal that the same image meets on the same device each time.
ALTER TABLE updates ADD COLUMN lasting_refusal TEXT;
